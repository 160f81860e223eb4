//! What the second factor of an account is.

use std::fmt;
use std::str::FromStr;

use sea_orm::DeriveValueType;

use crate::platform::shape::Words;

/// What the second factor of an account is. A name in the database that means nothing is breakage: it never lets
/// anybody in with one factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, DeriveValueType)]
#[sea_orm(value_type = "String")]
pub enum OtpMethod {
    /// There is none.
    None,
    /// An app that shows codes (TOTP).
    Authenticator,
    /// Codes by e-mail: the weaker factor.
    Email,
}

impl OtpMethod {
    /// Every method.
    pub const ALL: [Self; 3] = [Self::None, Self::Authenticator, Self::Email];

    /// Its name in the database and in answers: never rename.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Authenticator => "authenticator",
            Self::Email => "email",
        }
    }

    /// The names, for the OpenAPI document.
    #[must_use]
    pub(crate) fn words() -> Words {
        Words { name: "OtpMethod", about: "A second factor.", all: Self::ALL.map(Self::name).to_vec() }
    }
}

impl fmt::Display for OtpMethod {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for OtpMethod {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<Self, UnknownMethod> {
        Self::ALL.into_iter().find(|method| method.name() == name).ok_or(UnknownMethod)
    }
}

/// The name is no second factor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be none, authenticator or email")]
pub struct UnknownMethod;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_read_from_its_name_and_from_nothing_else() {
        for method in OtpMethod::ALL {
            assert_eq!(method.to_string().parse::<OtpMethod>(), Ok(method));
        }
        for other in ["", "None", "email ", "sms"] {
            assert_eq!(other.parse::<OtpMethod>(), Err(UnknownMethod), "{other}");
        }
    }
}
