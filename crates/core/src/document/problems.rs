//! The mistakes of a document, and the report that collects them.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// One mistake in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key, such as `sources[1].window.past`.
    pub at: String,
    /// Description of the mistake and of the expected value. It never shows the value, which
    /// may be a secret.
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
    /// Creates a list of one mistake at the key path `at`.
    pub fn one(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self(vec![Problem {
            at: at.into(),
            message: message.into(),
        }])
    }

    /// Replaces each mistake by the result of `change`.
    #[must_use]
    pub fn map(self, change: impl FnMut(Problem) -> Problem) -> Self {
        Self(self.0.into_iter().map(change).collect())
    }

    /// Returns the mistakes.
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

/// Collects [`Problem`]s while a document is read. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Report(Rc<RefCell<Vec<Problem>>>);

impl Report {
    /// Adds a mistake.
    pub fn add(&self, at: impl Into<String>, message: impl Into<String>) {
        self.0.borrow_mut().push(Problem {
            at: at.into(),
            message: message.into(),
        });
    }

    /// Adds all of `problems`, with `at` before their key paths.
    pub fn add_all(&self, at: &str, problems: Problems) {
        for problem in problems {
            self.add(join(at, &problem.at), problem.message);
        }
    }

    /// Returns the number of mistakes.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether the report has no mistake.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Returns the mistakes and leaves the report empty.
    pub fn into_problems(self) -> Vec<Problem> {
        self.0.take()
    }

    /// Returns `value` if the report has no mistake.
    ///
    /// # Errors
    ///
    /// Returns the mistakes of the report, and leaves it empty. A `value` of `None` is also an
    /// error: the code that returned it has reported a mistake.
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
