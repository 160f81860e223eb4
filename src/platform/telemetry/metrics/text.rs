//! Measurements as text (Prometheus' exposition format, version 0.0.4).

use std::fmt::Write;

use super::{Family, Kind, Measure, Sample, Spread};

/// All of them. Writing to a text can't fail.
pub(super) fn written(families: &[Family]) -> String {
    let mut text = String::with_capacity(64 * 1024);
    for family in families {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        line(&mut text, format_args!("# HELP {} {}", family.name, family.help));
        line(&mut text, format_args!("# TYPE {} {kind}", family.name));
        for sample in &family.samples {
            write_sample(&mut text, family.name, sample);
        }
    }
    text
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    if text.write_fmt(words).is_ok() {
        text.push('\n');
    }
}

fn write_sample(text: &mut String, name: &str, sample: &Sample) {
    match &sample.measure {
        Measure::Number(value) => {
            let labels = labels(sample, None);
            line(text, format_args!("{name}{labels} {value}"));
        }
        Measure::Spread(spread) => write_spread(text, name, sample, spread),
    }
}

/// In this format, each bucket holds what the smaller ones do.
fn write_spread(text: &mut String, name: &str, sample: &Sample, spread: &Spread) {
    let mut below = 0;
    let bounds = spread.bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(&spread.counts) {
        below += count;
        let labels = labels(sample, Some(&bound));
        line(text, format_args!("{name}_bucket{labels} {below}"));
    }
    let labels = labels(sample, None);
    line(text, format_args!("{name}_sum{labels} {}", spread.sum));
    line(text, format_args!("{name}_count{labels} {below}"));
}

fn labels(sample: &Sample, bound: Option<&str>) -> String {
    let own = sample.labels.iter().map(|(name, value)| (*name, value.as_str()));
    let all: Vec<String> = own
        .chain(bound.map(|bound| ("le", bound)))
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
