//! Payloads that say what no payload of ours says, or say it at the wrong time.

use super::*;

#[track_caller]
fn payload_refused(payload: impl ToString, fault: TokenFault) {
    let ring = ring(Algorithm::EdDsa);
    refused(&ring, &forged(&ring, header(&ring), payload), fault);
}

///
#[test]
fn a_token_dies_on_time() {
    for end in [NOW, NOW - 1, NOW - 3600, 0, -1, i64::MIN] {
        payload_refused(with(payload(), "exp", json!(end)), TokenFault::Expired);
    }
    let ring = ring(Algorithm::EdDsa);
    let token = ring.issue(&claims()).unwrap();
    let last = Timestamp::from_millis((NOW + VALID_FOR) * 1000 - 1);
    assert!(ring.verify(&token, last, &expected()).is_ok());
    let over = Timestamp::from_seconds(NOW + VALID_FOR);
    assert_eq!(ring.verify(&token, over, &expected()), Err(TokenFault::Expired));
}

///
#[test]
fn a_token_from_the_future_waits() {
    let ring = ring(Algorithm::EdDsa);
    for claim in ["nbf", "iat"] {
        for begin in [NOW + 61, NOW + 600, i64::MAX] {
            payload_refused(with(payload(), claim, json!(begin)), TokenFault::NotYetValid);
        }
        let skewed = with(payload(), claim, json!(NOW + 60));
        assert!(verify(&ring, &forged(&ring, header(&ring), skewed)).is_ok());
    }
    let late = Timestamp::from_millis(i64::MAX);
    let forever = with(payload(), "exp", json!(i64::MAX));
    assert!(ring.verify(&forged(&ring, header(&ring), forever), late, &expected()).is_ok());
}

/// A-055; the string is CVE-2026-25537.
#[test]
fn times_are_whole_numbers() {
    for claim in ["exp", "iat", "nbf", "ver"] {
        for value in
            [json!("9999999999"), json!(null), json!(9_999_999_999.5), json!([1]), json!({}), json!(true)]
        {
            payload_refused(with(payload(), claim, value), TokenFault::Malformed);
        }
        for number in
            ["1e400", "1e3", "9999999999.0", "-0.0", "9223372036854775808", "0x10", "010", "+1", "NaN"]
        {
            let text = with(payload(), claim, json!("@")).to_string().replace("\"@\"", number);
            payload_refused(text, TokenFault::Malformed);
        }
    }
}

#[test]
fn every_claim_is_required_and_no_other_is_known() {
    for claim in payload().as_object().unwrap().keys() {
        payload_refused(without(payload(), claim), TokenFault::Malformed);
        payload_refused(with(payload(), claim, json!(null)), TokenFault::Malformed);
        payload_refused(with(payload(), claim, json!({ "a": 1 })), TokenFault::Malformed);
        let twice = payload().to_string().replacen('{', &format!("{{\"{claim}\":{},", payload()[claim]), 1);
        payload_refused(twice, TokenFault::Malformed);
    }
    for unknown in ["admin", "scope", "cnf", "act", "SUB", ""] {
        payload_refused(with(payload(), unknown, json!("x")), TokenFault::Malformed);
    }
}

/// A-056; the array is CVE-2026-107723.
#[test]
fn a_payload_is_one_flat_object() {
    let values: Vec<Value> = payload().as_object().unwrap().values().cloned().collect();
    let texts = [
        "[]".to_owned(),
        "\"x\"".to_owned(),
        "null".to_owned(),
        "1".to_owned(),
        String::new(),
        "{}".to_owned(),
        "[".repeat(2000),
        "{\"a\":".repeat(400),
        json!(values).to_string(),
        format!("[{}]", payload()),
        format!(" {}", payload()),
        format!("{}x", payload()),
        format!("\u{feff}{}", payload()),
        "A".repeat(5_000_000),
        "[".repeat(10_000),
    ];
    for text in texts {
        payload_refused(text, TokenFault::Malformed);
    }
    for sub in
        [json!([Uuid::from_u128(1)]), json!({}), json!(1), json!(""), json!("admin"), json!("' OR 1=1")]
    {
        payload_refused(with(payload(), "sub", sub), TokenFault::Malformed);
    }
    for roles in [json!("admin"), json!([1]), json!([["admin"]]), json!({ "0": "admin" })] {
        payload_refused(with(payload(), "roles", roles), TokenFault::Malformed);
    }
}

/// text that is not UTF-8.
#[test]
fn a_payload_is_utf_8() {
    let ring = ring(Algorithm::EdDsa);
    let head = URL_SAFE_NO_PAD.encode(header(&ring).to_string());
    let mut bytes = payload().to_string().into_bytes();
    let place = bytes.windows(9).position(|text| text == b"gatehouse").unwrap();
    bytes[place] = 0xff;
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(bytes));
    let signature = URL_SAFE_NO_PAD.encode(ring.current().sign(signed.as_bytes()).unwrap());
    refused(&ring, &format!("{signed}.{signature}"), TokenFault::Malformed);
}

///
#[test]
fn issuer_and_audience_are_compared_exactly() {
    for (claim, fault) in [("iss", TokenFault::WrongIssuer), ("aud", TokenFault::WrongAudience)] {
        let right = payload()[claim].as_str().unwrap().to_owned();
        for wrong in [
            String::new(),
            "https://evil.test".into(),
            right[..right.len() - 1].into(),
            format!("{right}/"),
            format!("{right}.evil.test"),
            right.to_uppercase(),
            right.replace("https", "http"),
            format!("{right}\0"),
            format!(" {right}"),
        ] {
            payload_refused(with(payload(), claim, json!(wrong)), fault);
        }
        payload_refused(with(payload(), claim, json!([right, "https://evil.test"])), TokenFault::Malformed);
        payload_refused(with(payload(), claim, json!([right])), TokenFault::Malformed);
    }
}

/// Only a token that is otherwise right is said to have expired: the answer is no oracle for forgers.
#[test]
fn expiry_is_judged_last() {
    let old = with(payload(), "exp", json!(NOW - 1));
    payload_refused(with(old.clone(), "iss", json!("https://evil.test")), TokenFault::WrongIssuer);
    payload_refused(with(old.clone(), "aud", json!("https://evil.test")), TokenFault::WrongAudience);
    let ring = ring(Algorithm::EdDsa);
    let token = format!("{}.{}", unsigned(header(&ring), old), URL_SAFE_NO_PAD.encode([0; 64]));
    refused(&ring, &token, TokenFault::BadSignature);
}
