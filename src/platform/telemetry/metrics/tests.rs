//! What is counted is what is told.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::platform::clock::Clock;

fn clock() -> Clock {
    Clock::manual(Timestamp::from_seconds(1_767_225_600))
}

#[test]
fn a_duration_falls_into_the_first_bucket_that_holds_it() {
    let histogram = Histogram::new(&[0.1, 1.0]);
    for millis in [0, 100, 101, 1000, 1001, 60_000] {
        histogram.observe(Duration::from_millis(millis));
    }
    let read = histogram.read();
    assert_eq!((&read.counts[..], read.count()), (&[2, 2, 2][..], 6));
    assert!((read.sum - 62.202).abs() < 1e-9, "{}", read.sum);
}

#[test]
fn nothing_is_lost_where_many_count_at_once() {
    let (histogram, tally) = (Histogram::new(Histogram::SECONDS), Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for number in 0..10_000 {
                    histogram.observe(Duration::from_millis(5));
                    tally.count(number % 4 == 0);
                }
            });
        }
    });
    let read = histogram.read();
    assert_eq!((read.count(), read.counts[2]), (80_000, 80_000));
    assert!((read.sum - 400.0).abs() < 1e-6);
    assert_eq!(tally.read(), (20_000, 60_000));
}

#[tokio::test]
async fn the_text_is_what_prometheus_reads() {
    let metrics = Metrics::new(clock());
    metrics.tell(|| {
        let histogram = Histogram::new(&[0.1, 1.0]);
        histogram.observe(Duration::from_millis(50));
        histogram.observe(Duration::from_secs(5));
        let spread = Sample { labels: vec![("r", "/x".into())], measure: Measure::Spread(histogram.read()) };
        vec![
            Family::counter("a_total", "A.", vec![Sample::labelled([("k", "q\"b\\n\n")], 3.0)]),
            Family::histogram("b_seconds", "B.", vec![spread]),
        ]
    });
    let text = metrics.text().await;
    let expected = "# HELP a_total A.\n# TYPE a_total counter\na_total{k=\"q\\\"b\\\\n\\n\"} 3\n\
        # HELP b_seconds B.\n# TYPE b_seconds histogram\n\
        b_seconds_bucket{r=\"/x\",le=\"0.1\"} 1\nb_seconds_bucket{r=\"/x\",le=\"1\"} 1\n\
        b_seconds_bucket{r=\"/x\",le=\"+Inf\"} 2\nb_seconds_sum{r=\"/x\"} 5.05\nb_seconds_count{r=\"/x\"} 2\n";
    assert!(text.starts_with(expected), "{text}");
    for name in ["process_resident_memory_bytes ", "process_cpu_seconds_total ", "process_open_fds "] {
        assert!(text.contains(&format!("\n{name}")), "{name}");
    }
}

#[tokio::test]
async fn what_is_asked_for_is_remembered_for_its_time_and_no_answer_too() {
    let clock = clock();
    let metrics = Metrics::new(clock.clone());
    let times = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&times);
    metrics.ask(Duration::from_secs(15), move || {
        let time = counted.fetch_add(1, Ordering::SeqCst);
        async move { (time > 0).then(|| vec![Family::gauge("asked", "Times.", vec![Sample::plain(size(time))])]) }
    });
    assert!(!metrics.text().await.contains("asked"));
    assert!(!metrics.text().await.contains("asked"));
    clock.advance(Duration::from_secs(15));
    assert!(metrics.text().await.contains("\nasked 1\n") || metrics.text().await.starts_with("# HELP asked"));
    assert_eq!(times.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn who_does_not_answer_is_not_waited_for_long() {
    let metrics = Metrics::new(clock());
    metrics.ask(Duration::from_secs(15), std::future::pending);
    assert!(metrics.text().await.contains("gatehouse_build_info"));
}
