//! Reads documents so that all mistakes are reported at once, each with its key path and the
//! expected value.
//!
//! serde stops at the first error, but an operator who fixes a configuration wants to see all
//! of them. Provider files, schemes and the gateway's configuration are read through the same
//! [`Section`], so their messages have the same form.

mod problems;
mod section;
mod tree;
mod value;

pub use self::problems::{Problem, Problems, Report};
pub use self::section::Section;
pub use self::tree::{Table, Value};
#[cfg(feature = "toml")]
pub use self::value::parse;
pub use self::value::{FromValue, text};

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_mistake_is_reported_with_its_path() {
        let text = "a = 1\nextra = true\n[[list]]\nwait = \"5\"\n[[list]]\nwait = 3";
        let table = parse(text).unwrap();
        let report = Report::default();
        let root = Section::root(&table, &report);
        assert_eq!(root.required::<String>("a"), None);
        assert_eq!(root.required::<bool>("b"), None);
        for section in root.sections("list") {
            assert_eq!(section.required::<Duration>("wait"), None);
        }
        root.deny_unknown();
        let text = report.finish(Some(())).unwrap_err().to_string();
        assert_eq!(
            text,
            "a: expected a string, found a number\n\
             b: missing; expected true or false\n\
             list[0].wait: expected a duration with a unit, such as \"300s\" or \"24h\", of at most ten years\n\
             list[1].wait: expected a duration with a unit, such as \"300s\" or \"24h\", of at most ten years, found a number\n\
             extra: unknown key; expected one of a, b, list"
        );
    }
}
