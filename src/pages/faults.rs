//! What is wrong with a form: said in words that are tied to the fields that they are about.

use minijinja::{Value, context};

use super::Pages;
use crate::platform::problem::{FieldError, Problem};
use crate::users::{Password, PasswordFlaw};

/// The fields of a form in their order, each with the id of its hint, where it has one.
pub(super) type Form = [(&'static str, Option<&'static str>)];

/// The form of a new account.
pub(super) const NEW_ACCOUNT: &Form = &[
    ("username", Some("username-hint")),
    ("email", None),
    ("password", Some("password-hint")),
    ("confirm_password", None),
];

/// The form of signing in.
pub(super) const SIGN_IN: &Form = &[("username", None), ("password", None)];

/// The form of the second factor.
pub(super) const OTP: &Form = &[("otp_code", None)];

/// The form of who has forgotten their password.
pub(super) const FORGOT: &Form = &[("username", None)];

/// The form of who wants another link that proves an address.
pub(super) const VERIFY_REQUEST: &Form = &[("email", None)];

/// The form of a new password.
pub(super) const RESET: &Form = &[("new_password", Some("password-hint")), ("confirm_password", None)];

/// Something that is wrong with a form.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    fields: Vec<String>,
    words: String,
}

impl Fault {
    /// About these fields of the form; about none, it is about what was sent as a whole.
    pub(super) fn of(fields: &[&str], words: impl Into<String>) -> Self {
        Self { fields: fields.iter().map(|field| (*field).to_owned()).collect(), words: words.into() }
    }

    fn is_about(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field == name)
    }
}

impl Pages {
    /// What is wrong with some fields, a sentence for each.
    pub(super) fn faults(&self, errors: &[FieldError]) -> Vec<Fault> {
        let fault = |error: &FieldError| {
            let message = self.said(&error.message);
            match self.field(&error.field) {
                Some(field) => Fault::of(&[error.field.as_str()], format!("{field}: {message}")),
                None => Fault::of(&[], message),
            }
        };
        errors.iter().map(fault).collect()
    }

    /// What a page calls a field.
    fn field(&self, name: &str) -> Option<&str> {
        let key = match name {
            "username" => "field.username",
            "email" => "field.email",
            "password" => "field.password",
            "new_password" => "field.new_password",
            "confirm_password" => "field.again",
            _ => return None,
        };
        Some(self.word(key))
    }
}

/// A problem that names no fields, where the account is not made: what is taken is wrong at its field.
pub(super) fn not_made(problem: &Problem) -> FieldError {
    let field = match problem.code {
        "username_taken" => "username",
        "email_taken" => "email",
        _ => "",
    };
    FieldError::new(field, problem.detail.clone())
}

/// What is wrong with a form whose password was not judged yet, because there is more to it: that it is too short is
/// known without, and said along with the rest.
pub(super) fn with_length(
    mut errors: Vec<FieldError>,
    field: &'static str,
    password: &str,
    min_length: usize,
) -> Vec<FieldError> {
    if Password::parse(password).is_ok_and(|password| password.chars() < min_length) {
        let error = FieldError::new(field, PasswordFlaw::TooShort { min_length }.words());
        let place = errors.iter().position(|error| error.field == "confirm_password");
        errors.insert(place.unwrap_or(errors.len()), error);
    }
    errors
}

/// What a template shows of them: `problems`, each with an id, and in `at`, by the name of each field, the attributes
/// that tie it to its own. The focus goes to the first field that is wrong, or else to the first of all.
pub(super) fn shown(form: &Form, faults: &[Fault]) -> Value {
    let problem = |(number, fault): (usize, &Fault)| context! { id => id_of(number), words => &fault.words };
    let problems: Vec<Value> = faults.iter().enumerate().map(problem).collect();
    let is_wrong = |name: &str| faults.iter().any(|fault| fault.is_about(name));
    let focused = form.iter().find(|(name, _)| is_wrong(name)).or_else(|| form.first());
    let focused = focused.map(|(name, _)| *name);
    let tied = form.iter().map(|(name, hint)| {
        let own = faults.iter().enumerate().filter(|(_, fault)| fault.is_about(name));
        let ids: Vec<String> = own.map(|(number, _)| id_of(number)).collect();
        // Made of names of our own alone.
        (*name, Value::from_safe_string(attributes(focused == Some(*name), *hint, ids)))
    });
    context! { problems => problems, at => Value::from_pairs(tied) }
}

fn id_of(number: usize) -> String {
    format!("problem-{}", number + 1)
}

fn attributes(focused: bool, hint: Option<&str>, problems: Vec<String>) -> String {
    let mut attributes = Vec::new();
    if focused {
        attributes.push("autofocus".to_owned());
    }
    if !problems.is_empty() {
        attributes.push("aria-invalid=\"true\"".to_owned());
    }
    let described: Vec<String> = hint.map(str::to_owned).into_iter().chain(problems).collect();
    if !described.is_empty() {
        attributes.push(format!("aria-describedby=\"{}\"", described.join(" ")));
    }
    attributes.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes_of(faults: &[Fault]) -> Vec<String> {
        let at = shown(NEW_ACCOUNT, faults).get_attr("at").unwrap();
        NEW_ACCOUNT.iter().map(|(name, _)| at.get_attr(name).unwrap().to_string()).collect()
    }

    #[test]
    fn a_field_is_tied_to_what_is_wrong_with_it_and_the_first_has_the_focus() {
        let hints = ["aria-describedby=\"username-hint\"", "aria-describedby=\"password-hint\""];
        assert_eq!(attributes_of(&[]), [&*format!("autofocus {}", hints[0]), "", hints[1], ""]);
        let general = Fault::of(&[], "Not now.");
        assert_eq!(attributes_of(std::slice::from_ref(&general)), attributes_of(&[]));
        let faults = [
            Fault::of(&["password"], "Too short."),
            general,
            Fault::of(&["password", "email"], "Too much alike."),
        ];
        let expected = [
            hints[0],
            "autofocus aria-invalid=\"true\" aria-describedby=\"problem-3\"",
            "aria-invalid=\"true\" aria-describedby=\"password-hint problem-1 problem-3\"",
            "",
        ];
        assert_eq!(attributes_of(&faults), expected);
    }
}
