//! Mail: complete or not, and how its connection is protected.

use super::*;

const SMTP: [(&str, &str); 3] =
    [("EMAIL_METHOD", "smtp"), ("SMTP_HOST", "smtp.example.com"), ("SMTP_SENDER_EMAIL", "gate@example.com")];
const MAILJET: [(&str, &str); 4] = [
    ("EMAIL_METHOD", "mj"),
    ("MJ_APIKEY_PUBLIC", "public"),
    ("MJ_APIKEY_PRIVATE", "private"),
    ("MJ_SENDER_EMAIL", "gate@example.com"),
];

fn smtp(more: &[(&str, &str)]) -> Smtp {
    match config(&[&SMTP[..], more].concat()).mail.delivery {
        Delivery::Smtp(smtp) => smtp,
        other => panic!("{other:?}"),
    }
}

#[test]
fn there_is_no_mail_until_it_is_set() {
    assert!(matches!(config(&[]).mail.delivery, Delivery::None));
    assert!(matches!(config(&[("EMAIL_METHOD", "inbox")]).mail.delivery, Delivery::Inbox));
    assert!(matches!(config(&MAILJET).mail.delivery, Delivery::Mailjet(_)));
}

#[test]
fn true_and_false_protect_as_the_port_says() {
    for (tls, port, expected) in [
        ("True", "", (Protection::StartTls, 587)),
        ("true", "2525", (Protection::StartTls, 2525)),
        ("True", "465", (Protection::Implicit, 465)),
        ("starttls", "465", (Protection::StartTls, 465)),
        ("implicit", "", (Protection::Implicit, 465)),
        ("False", "", (Protection::None, 25)),
        ("none", "1025", (Protection::None, 1025)),
        ("", "", (Protection::StartTls, 587)),
    ] {
        let smtp = smtp(&[("SMTP_TLS", tls), ("SMTP_PORT", port)]);
        assert_eq!((smtp.protection, smtp.port), expected, "{tls} {port}");
    }
    assert_eq!(mistakes(&[&SMTP[..], &[("SMTP_TLS", "maybe")]].concat()).len(), 1);
}

#[test]
fn what_is_incomplete_ends_the_start_in_production_and_is_no_mail_in_local() {
    for (complete, missing) in [
        (&SMTP[..], "SMTP_HOST"),
        (&SMTP, "SMTP_SENDER_EMAIL"),
        (&MAILJET, "MJ_APIKEY_PUBLIC"),
        (&MAILJET, "MJ_APIKEY_PRIVATE"),
        (&MAILJET, "MJ_SENDER_EMAIL"),
    ] {
        let mut variables: Vec<(&str, &str)> =
            complete.iter().copied().filter(|(name, _)| *name != missing).collect();
        let loaded = accepted(&environment(&variables));
        assert!(matches!(loaded.config.mail.delivery, Delivery::None));
        assert_eq!(loaded.warnings, [format!("no mail is sent: EMAIL_METHOD is set, but not {missing}")]);
        variables.push(("ENVIRONMENT", "production"));
        assert_eq!(mistakes(&variables), [format!("{missing} is not set, though EMAIL_METHOD needs it")]);
    }
    let half = [&SMTP[..], &[("SMTP_USER", "gate"), ("ENVIRONMENT", "production")]].concat();
    assert_eq!(mistakes(&half), ["SMTP_PASSWORD is not set, though EMAIL_METHOD needs it"]);
    let bare = [("EMAIL_METHOD", "mj"), ("ENVIRONMENT", "production")];
    let all =
        "MJ_APIKEY_PUBLIC, MJ_APIKEY_PRIVATE, MJ_SENDER_EMAIL are not set, though EMAIL_METHOD needs them";
    assert_eq!(mistakes(&bare), [all]);
}

#[test]
fn the_inbox_is_for_local_alone() {
    let variables = [("EMAIL_METHOD", "inbox"), ("ENVIRONMENT", "production")];
    assert_eq!(mistakes(&variables).len(), 1);
}

#[test]
fn a_password_in_the_clear_is_warned_of() {
    let warnings = |tls: &str| {
        let more = [("SMTP_USER", "gate"), ("SMTP_PASSWORD", "secret"), ("SMTP_TLS", tls)];
        accepted(&environment(&[&SMTP[..], &more].concat())).warnings.len()
    };
    assert_eq!((warnings("none"), warnings("starttls")), (1, 0));
}

#[test]
fn a_link_has_a_place_for_the_token_behind_a_host_of_its_own() {
    for good in [
        "https://example.com/verify?token={token}",
        "https://example.com/#/verify/{token}/now",
        "http://localhost:3000/{token}",
    ] {
        assert_eq!(config(&[("VERIFY_URL", good)]).mail.verify_url.as_deref(), Some(good));
    }
    for bad in [
        "https://example.com/verify",
        "https://example.com/{token}/{token}",
        "https://{token}.example.com/",
        "https://example.com:{token}/",
        "https://{token}@example.com/",
        "javascript:alert({token})",
        "/verify?token={token}",
        "https://example.com/a b?token={token}",
    ] {
        assert_eq!(mistakes(&[("RESET_URL", bad)]).len(), 1, "{bad}");
    }
}
