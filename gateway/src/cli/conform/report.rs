//! The matrix of verdicts, for people and for programs.

use serde_json::{Value, json};

use super::corpus::Row;
use super::receiver::Answer;
use super::verdict::Verdict;
use crate::cli::terminal::{Colour, Colours, Column, Rank, Table, fill, printable};

const COLUMNS: [Column; 6] = [
    Column::new("row", Rank::Always, 20, 20),
    Column::new("sent", Rank::Useful, 24, 56),
    Column::new("expected", Rank::Helpful, 20, 20),
    Column::new("answered", Rank::Always, 8, 44),
    Column::new("verdict", Rank::Always, 7, 7),
    Column::new("why", Rank::Extra, 76, 76),
];

/// The verdicts about a receiver.
pub(super) struct Report {
    pub(super) receiver: String,
    pub(super) provider: String,
    /// Whether the runs of the application were counted.
    pub(super) counts_runs: bool,
    pub(super) results: Vec<RowResult>,
}

/// A row with its verdict.
pub(super) struct RowResult {
    pub(super) row: &'static Row,
    pub(super) answers: Vec<Answer>,
    /// The runs of each event, if they were counted.
    pub(super) runs: Option<Vec<u64>>,
    pub(super) verdict: Verdict,
}

impl Report {
    /// Whether no row failed.
    pub(super) fn passes(&self) -> bool {
        self.count("fail") == 0
    }

    fn count(&self, label: &str) -> usize {
        let labels = self.results.iter().map(|result| result.verdict.label());
        labels.filter(|one| *one == label).count()
    }

    /// Returns the matrix in lines of at most `limit` columns.
    pub(super) fn to_text(&self, limit: Option<usize>, colours: Colours) -> String {
        let rows: Vec<_> = self.results.iter().map(RowResult::cells).collect();
        let table = Table::fit(&COLUMNS, &rows, limit);
        let head = colours.paint(Some(Colour::Dim), table.head());
        let mut lines = vec![head.to_string()];
        for (cells, result) in rows.iter().zip(&self.results) {
            let paints = [None, None, None, None, result.colour()];
            lines.push(table.row(cells, &paints, colours));
        }
        lines.push(String::new());
        for result in &self.results {
            let Verdict::Fail(reason) = &result.verdict else {
                continue;
            };
            let text = format!(
                "{}: {}; {}",
                result.row.id,
                printable(reason),
                result.row.why
            );
            lines.push(fill(&text, "fail  ", 6, limit));
        }
        lines.push(self.summary());
        lines.extend(self.advice().map(|text| fill(&text, "", 2, limit)));
        lines.join("\n") + "\n"
    }

    fn summary(&self) -> String {
        let [pass, fail, unseen, inapplicable] =
            ["pass", "fail", "unseen", "n/a"].map(|label| self.count(label));
        let all = match self.results.len() {
            1 => "1 row".to_owned(),
            all => format!("{all} rows"),
        };
        format!("{all}: {pass} pass, {fail} fail, {unseen} unseen, {inapplicable} not applicable")
    }

    fn advice(&self) -> impl Iterator<Item = String> {
        let good = self.results.iter().find(|result| result.row.id == "good");
        let refuses_all = good.is_some_and(|good| good.verdict != Verdict::Pass);
        let is_blind = !self.counts_runs && self.count("unseen") > 0;
        let died = self.died_in().map(|row| {
            format!(
                "the receiver does not respond from the row {row} on, so the rows after it prove \
                 nothing; see its log"
            )
        });
        let refuses_all = refuses_all.then_some(
            "the receiver does not accept a genuine delivery, so its refusals prove nothing; \
             check the secret, the provider and the URL",
        );
        let is_blind = is_blind.then_some(
            "the status alone does not show a second run; --runs counts the runs of the application",
        );
        let texts = refuses_all.into_iter().chain(is_blind);
        died.into_iter().chain(texts.map(str::to_owned))
    }

    /// Returns the row in which the receiver stops: no request of a later row has a response. `None` if
    /// no request has one, or if this is the last row.
    fn died_in(&self) -> Option<&str> {
        let answered = self.results.iter().filter(|row| !row.answers.is_empty());
        let answered: Vec<&RowResult> = answered.collect();
        let is_alive = |row: &&RowResult| !row.answers.iter().all(Answer::is_nothing);
        let last_alive = answered.iter().rposition(is_alive)?;
        let has_died = answered[last_alive].answers.iter().any(Answer::is_nothing);
        match &answered[last_alive + usize::from(!has_died)..] {
            [first, _, ..] => Some(first.row.id),
            _ => None,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let rows: Vec<Value> = self.results.iter().map(RowResult::to_json).collect();
        json!({
            "receiver": self.receiver,
            "provider": self.provider,
            "passes": self.passes(),
            "counts_runs": self.counts_runs,
            "rows": rows,
        })
    }
}

impl RowResult {
    /// Creates the result of a row that sent nothing.
    pub(super) fn without_answers(row: &'static Row, verdict: Verdict) -> Self {
        Self {
            row,
            answers: Vec::new(),
            runs: None,
            verdict,
        }
    }

    fn cells(&self) -> Vec<String> {
        let answered = match &self.verdict {
            Verdict::Inapplicable(reason) => (*reason).to_owned(),
            _ => self.answered(),
        };
        [
            self.row.id,
            self.row.sent,
            self.row.probe.expected().text(),
            answered.as_str(),
            self.verdict.label(),
            self.row.why,
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// Returns the statuses, equal ones together, and the runs.
    fn answered(&self) -> String {
        let mut groups: Vec<(String, usize)> = Vec::new();
        for answer in self.answers.iter().map(ToString::to_string) {
            match groups.last_mut() {
                Some((last, count)) if *last == answer => *count += 1,
                _ => groups.push((answer, 1)),
            }
        }
        let texts = groups.into_iter().map(|(answer, count)| match count {
            1 => answer,
            count => format!("{answer} ×{count}"),
        });
        let statuses = texts.collect::<Vec<_>>().join(", ");
        match self.runs.as_deref() {
            None => statuses,
            Some(runs) => {
                let runs: u64 = runs.iter().sum();
                let noun = if runs == 1 { "run" } else { "runs" };
                format!("{statuses}; {runs} {noun}")
            }
        }
    }

    fn colour(&self) -> Option<Colour> {
        match self.verdict {
            Verdict::Pass => Some(Colour::Green),
            Verdict::Fail(_) => Some(Colour::Red),
            Verdict::Unseen => Some(Colour::Yellow),
            Verdict::Inapplicable(_) => Some(Colour::Dim),
        }
    }

    fn to_json(&self) -> Value {
        let answers = self.answers.iter().map(|answer| match answer {
            Answer::Status(status) => status.as_u16().into(),
            Answer::Nothing(_) => Value::Null,
        });
        let answers: Vec<Value> = answers.collect();
        json!({
            "row": self.row.id,
            "sent": self.row.sent,
            "expected": self.row.probe.expected().text(),
            "answered": answers,
            "runs": self.runs,
            "verdict": self.verdict.label(),
            "reason": self.verdict.reason(),
            "why": self.row.why,
        })
    }
}
