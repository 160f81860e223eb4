//! Who may do what: Cedar policies, decisions and their explanation.
