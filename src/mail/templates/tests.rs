//! Every letter in every language; the operator's files over them.

use std::fs;

use tempfile::TempDir;

use super::*;

fn open() -> (TempDir, Templates) {
    let folder = tempfile::tempdir().unwrap();
    let templates = Templates::open(folder.path().join("email"));
    (folder, templates)
}

fn put(folder: &TempDir, name: &str, text: &str) {
    let path = folder.path().join("email").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn subject(templates: &Templates, language: &str, letter: &str) -> String {
    templates.refresh();
    templates.render(language, letter, &samples(letter)[0]).unwrap().subject
}

#[test]
fn every_letter_is_there_in_every_language_with_strict_values() {
    let (_folder, templates) = open();
    for letter in LETTERS {
        for language in ["en", "de", "fr"] {
            for sample in samples(letter) {
                let Rendered { subject, text, html } = templates.render(language, letter, &sample).unwrap();
                assert!(!subject.is_empty() && !subject.contains('\n'), "{language}/{letter}");
                assert!(text.contains("Gatehouse") && html.contains("Gatehouse"), "{language}/{letter}");
                assert!(html.starts_with("<!doctype html>"), "{language}/{letter}");
                for broken in ["{{", "{%", "<img", "<script", "http://", "None", "none<", "undefined"] {
                    assert!(
                        !text.contains(broken) && !html.contains(broken),
                        "{language}/{letter}: {broken}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_folder_of_templates_belongs_to_a_letter() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/email");
    let files = folder::read(&root);
    assert_eq!(files, embedded_files());
}

#[test]
fn a_letter_is_written_in_the_readers_language_or_in_english() {
    let (folder, templates) = open();
    let language = |locale: &str| {
        templates.language("reset", &Languages { locale: Some(locale.to_owned()), accept_language: None })
    };
    assert_eq!([language("de-AT"), language("fr"), language("tlh")], ["de", "fr", "en"]);
    for (part, text) in [("subject.txt", "Nova pasvorto"), ("body.txt", "{{ link }}")] {
        put(&folder, &format!("eo/reset/{part}"), text);
    }
    templates.refresh();
    assert_eq!(language("eo"), "en", "a letter is never in two languages");
    put(
        &folder,
        "eo/reset/body.html",
        "{% extends \"layout.html\" %}{% block main %}{{ link }}{% endblock %}",
    );
    templates.refresh();
    assert_eq!(language("eo"), "eo");
    assert_eq!(subject(&templates, "eo", "reset"), "Nova pasvorto");
    assert_eq!(
        templates.language("code", &Languages { locale: Some("eo".into()), accept_language: None }),
        "en"
    );
}

#[test]
fn words_that_people_chose_are_escaped_in_html_and_stay_one_line_in_a_subject() {
    let (folder, templates) = open();
    put(&folder, "en/account-linked/subject.txt", "Linked:\n{{ provider }}");
    templates.refresh();
    let hostile = "<script>alert(1)</script>\r\nBcc: x@example.com \"&'";
    let shown = context! { provider => hostile, username => hostile, ..samples("account-linked")[0].clone() };
    let Rendered { subject, text, html } = templates.render("en", "account-linked", &shown).unwrap();
    assert!(!subject.contains(['\r', '\n']), "{subject:?}");
    assert!(text.contains("<script>"), "text is no HTML");
    assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"), "{html}");
}

#[test]
fn a_file_of_the_operator_wins_and_leaves_with_the_file() {
    let (folder, templates) = open();
    let built_in = subject(&templates, "de", "reset");
    put(&folder, "de/reset/subject.txt", "Passwort für {{ project_name }}");
    assert_eq!(subject(&templates, "de", "reset"), "Passwort für Gatehouse");
    put(&folder, "de/reset/subject.txt", "Anders");
    assert_eq!(subject(&templates, "de", "reset"), "Anders");
    fs::remove_file(folder.path().join("email/de/reset/subject.txt")).unwrap();
    assert_eq!(subject(&templates, "de", "reset"), built_in);
}

#[test]
fn a_broken_file_is_refused_and_the_last_good_one_stays() {
    let (folder, templates) = open();
    put(&folder, "en/reset/subject.txt", "Good");
    assert_eq!(subject(&templates, "en", "reset"), "Good");
    for broken in [
        "{{ link",
        "{{ pasword }}",
        "{% for i in range(1000000) %}{% for j in range(1000000) %}x{% endfor %}{% endfor %}",
        "{% include \"../../secret.key\" %}",
    ] {
        put(&folder, "en/reset/subject.txt", broken);
        put(&folder, "en/code/subject.txt", &format!("Code {}", broken.len()));
        assert_eq!(subject(&templates, "en", "reset"), "Good", "{broken}");
        let other = subject(&templates, "en", "code");
        assert_eq!(other, format!("Code {}", broken.len()), "what is good beside it is used");
    }
    put(&folder, "en/reset/subject.txt", "Better");
    assert_eq!(subject(&templates, "en", "reset"), "Better");
}

#[test]
fn a_broken_file_at_the_start_leaves_the_programs_own() {
    let (folder, before) = open();
    put(&folder, "layout.txt", "{% block main %}");
    let templates = Templates::open(folder.path().join("email"));
    assert_eq!(subject(&templates, "en", "test"), subject(&before, "en", "test"));
}

#[test]
fn files_that_need_each_other_may_come_together() {
    let (folder, templates) = open();
    put(&folder, "a.txt", "{% macro hi() %}Hi{% endmacro %}");
    put(&folder, "en/test/subject.txt", "{% from \"a.txt\" import hi %}{{ hi() }}");
    assert_eq!(subject(&templates, "en", "test"), "Hi");
}
