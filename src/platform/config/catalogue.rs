//! The settings: each is written once, as a field of its section, and everything else is made from that line.
//!
//! [`section!`] turns a table of fields into the struct that the program reads, the documentation of its fields,
//! and the section's part of the catalogue. From the catalogue come the reading, the mistakes, `gatehouse config`,
//! its JSON Schema and `.env.example`. To add a setting, add a line to its section's table.

use super::kinds::Shape;
use super::reader::Reader;
use super::sources::Sources;

/// One setting, as people know it.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Its variable, without the prefix `GATEHOUSE_`.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [Alias],
    /// What values it takes, and whether they are secret.
    pub shape: &'static dyn Shape,
    /// The text it has when nobody sets it, empty for none. `{NAME}` stands for the value of another setting.
    pub default: &'static str,
    /// Its meaning and unit, line by line.
    doc: &'static [&'static str],
}

impl Setting {
    /// A setting; made by [`section!`] only.
    pub(super) const fn new(
        name: &'static str,
        aliases: &'static [Alias],
        shape: &'static dyn Shape,
        default: &'static str,
        doc: &'static [&'static str],
    ) -> Self {
        Self { name, aliases, shape, default, doc }
    }

    /// Its meaning and unit, on one line.
    #[must_use]
    pub fn doc(&self) -> String {
        self.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// The text it has when nobody sets anything; empty for none.
    #[must_use]
    pub fn default_text(&self) -> String {
        Reader::new(&Sources::default()).text(self.name)
    }

    /// Every name it answers to, its own first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().map(Alias::name))
    }
}

/// Another name for a setting, kept for deployments that already use it.
#[derive(Clone, Copy, Debug)]
pub enum Alias {
    /// Means the same.
    Same(&'static str),
    /// A switch: when on, it means this text; when off, it says nothing.
    Switch(&'static str, &'static str),
}

impl Alias {
    /// The name, without prefix.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Same(name) | Self::Switch(name, _) => name,
        }
    }
}

/// Declares a section of the configuration: `field: Type = "VARIABLE" or Alias, kind, "default";` for each setting,
/// then after `derived` the fields that are computed from several settings by a function of the reader.
macro_rules! section {
    (
        $(#[$about:meta])*
        $visibility:vis struct $section:ident {
            $(
                $( #[doc = $doc:literal] )+
                $field:ident: $type:ty = $name:literal $( or $alias:expr )*, $kind:expr, $default:literal;
            )*
            $( derived {
                $( $( #[doc = $derived_doc:literal] )+ $derived:ident: $derived_type:ty = $function:expr; )*
            } )?
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug)]
        $visibility struct $section {
            $( $( #[doc = $doc] )+ pub $field: $type, )*
            $( $( $( #[doc = $derived_doc] )+ pub $derived: $derived_type, )* )?
        }

        impl $section {
            /// The settings that are written in this section.
            pub(in $crate::platform::config) const SETTINGS: &'static [$crate::platform::config::Setting] = &[
                $( $crate::platform::config::Setting::new($name, &[$($alias),*], &$kind, $default, &[$($doc),+]) ),*
            ];

            /// Reads every field before it gives up, so that all mistakes are noted.
            pub(in $crate::platform::config) fn read(
                reader: &mut $crate::platform::config::reader::Reader,
            ) -> Result<Self, $crate::platform::config::reader::Noted> {
                $( let $field = reader.value($name, &$kind); )*
                $( $( let $derived = $function(reader); )* )?
                Ok(Self { $( $field: $field?, )* $( $( $derived: $derived?, )* )? })
            }
        }
    };
}
pub(super) use section;
