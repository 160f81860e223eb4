//! Which languages somebody reads, best first.

use crate::mail::Languages;

/// So many ranges of `Accept-Language` are looked at.
const MOST: usize = 20;

/// Their own language, then those of the header by weight (RFC 9110, 12.5.4); `de-AT` also means `de`.
pub(crate) fn wanted(languages: &Languages) -> Vec<String> {
    let own = languages.locale.iter().map(String::as_str);
    let mut ranges: Vec<(&str, u32)> =
        languages.accept_language.as_deref().unwrap_or_default().split(',').take(MOST).map(weighed).collect();
    ranges.retain(|(range, weight)| *weight > 0 && !matches!(*range, "" | "*"));
    ranges.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    let ranges = ranges.into_iter().map(|(range, _)| range);
    own.chain(ranges).flat_map(with_shorter).collect()
}

/// A range and its weight in thousandths.
fn weighed(element: &str) -> (&str, u32) {
    let (range, parameters) = element.split_once(';').unwrap_or((element, ""));
    let weight = parameters.trim().strip_prefix("q=").map_or(1000, thousandths);
    (range.trim(), weight)
}

fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    number(whole).min(1) * 1000 + if number(whole) == 0 { number(&digits) } else { 0 }
}

/// `zh-Hant-TW` means `zh-hant-tw`, then `zh-hant`, then `zh`.
fn with_shorter(tag: &str) -> Vec<String> {
    let tag = tag.to_ascii_lowercase().replace('_', "-");
    let ends = tag.match_indices('-').map(|(end, _)| end).rev();
    std::iter::once(tag.len()).chain(ends).map(|end| tag[..end].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(locale: Option<&str>, accept_language: &str) -> Vec<String> {
        let accept_language = Some(accept_language.to_owned()).filter(|text| !text.is_empty());
        wanted(&Languages { locale: locale.map(str::to_owned), accept_language })
    }

    #[test]
    fn the_own_language_comes_first_then_the_browsers_by_weight() {
        assert_eq!(read(Some("de-AT"), ""), ["de-at", "de"]);
        assert_eq!(read(Some("fr"), "en;q=0.5, de-CH, it;q=0.75"), ["fr", "de-ch", "de", "it", "en"]);
        assert_eq!(read(None, "zh-Hant-TW"), ["zh-hant-tw", "zh-hant", "zh"]);
    }

    #[test]
    fn what_is_not_wanted_or_no_language_is_left_out() {
        assert_eq!(read(None, "de;q=0, *, ,fr;q=0.000, en;q=1.0"), ["en"]);
        assert_eq!(read(None, "de;q=x, en"), ["en"]);
        assert!(read(None, &"a,".repeat(10_000)).len() <= MOST);
    }
}
