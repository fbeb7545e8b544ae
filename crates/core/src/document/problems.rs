//! The mistakes of a document, and the report that collects them.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// One mistake in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key, such as `sources[1].window.past`.
    pub at: String,
    /// What is wrong and what was expected. Never a value that may be secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.at, self.message)
        }
    }
}

/// Every mistake of a document, in the order in which they were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// A single mistake at `at`.
    pub fn one(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self(vec![Problem {
            at: at.into(),
            message: message.into(),
        }])
    }

    /// The same mistakes, each told by what `tell` makes of it.
    #[must_use]
    pub fn map(self, tell: impl FnMut(Problem) -> Problem) -> Self {
        Self(self.0.into_iter().map(tell).collect())
    }

    /// The mistakes.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects [`Problem`]s while a document is read.
#[derive(Clone, Debug, Default)]
pub struct Report(Rc<RefCell<Vec<Problem>>>);

impl Report {
    /// Notes a mistake.
    pub fn add(&self, at: impl Into<String>, message: impl Into<String>) {
        self.0.borrow_mut().push(Problem {
            at: at.into(),
            message: message.into(),
        });
    }

    /// Notes all of `problems`, their paths set below `at`.
    pub fn add_all(&self, at: &str, problems: Problems) {
        for problem in problems {
            self.add(join(at, &problem.at), problem.message);
        }
    }

    /// How many mistakes were noted so far.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether nothing was wrong so far.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// All that was noted.
    pub fn into_problems(self) -> Vec<Problem> {
        self.0.take()
    }

    /// `value` if nothing was wrong.
    ///
    /// # Errors
    ///
    /// All that was noted.
    pub fn finish<T>(&self, value: Option<T>) -> Result<T, Problems> {
        let mut problems = self.0.borrow_mut();
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            _ => Err(Problems(std::mem::take(&mut problems))),
        }
    }
}

/// Returns the path of `key` below `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (_, true) => path.to_owned(),
        _ if key.starts_with('[') => format!("{path}{key}"),
        _ => format!("{path}.{key}"),
    }
}
