//! The text of a file with a switch for each of its mutants.

use std::fmt::Write;
use std::ops::Range;

use serde::Serialize;

use crate::site::{Change, Site};

/// The bytes of a mutant in the written file. One mutant can have several ranges.
#[derive(Debug, Serialize)]
pub(crate) struct MutantRange {
    pub(crate) id: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Writes the file with the sites, which are sorted from the outer to the inner ones.
pub(crate) fn render(source: &str, sites: &[Site]) -> (String, Vec<MutantRange>) {
    let mut renderer = Renderer {
        source,
        sites,
        text: String::new(),
        ranges: Vec::new(),
    };
    renderer.write(0..source.len(), 0);
    (renderer.text, renderer.ranges)
}

struct Renderer<'a> {
    source: &'a str,
    sites: &'a [Site],
    text: String,
    ranges: Vec<MutantRange>,
}

impl Renderer<'_> {
    /// Writes a part of the file. The sites before `first` belong to the parts around this one.
    fn write(&mut self, range: Range<usize>, first: usize) {
        let mut written = range.start;
        let sites = self.sites;
        for (index, site) in sites.iter().enumerate().skip(first) {
            if site.range.start >= range.end {
                break;
            }
            // The loop has written a site that contains this one.
            if site.range.start < written || site.range.end > range.end {
                continue;
            }
            self.text.push_str(&self.source[written..site.range.start]);
            self.write_site(site, index + 1);
            written = site.range.end;
        }
        self.text.push_str(&self.source[written..range.end]);
    }

    fn write_site(&mut self, site: &Site, inner: usize) {
        let whole = site.range.clone();
        match &site.change {
            Change::DeleteConst => {}
            Change::Return(values) => {
                for (id, value) in values {
                    self.mutant(*id, |this| {
                        this.push(format_args!("if {} {{ return {value}; }} ", on(*id)))
                    });
                }
            }
            Change::DeleteArm(id) => {
                self.mutant(*id, |this| this.push(format_args!(" if !{}", on(*id))));
            }
            Change::Guard(values) => {
                for (id, value) in values {
                    let switch = on(*id);
                    self.mutant(*id, |this| match value.as_str() {
                        "true" => this.push(format_args!("{switch} || ")),
                        _ => this.push(format_args!("!{switch} && ")),
                    });
                }
                self.push(format_args!("("));
                self.write(whole, inner);
                self.push(format_args!(")"));
            }
            Change::Edits(edits) => {
                self.push(format_args!("("));
                for edit in edits {
                    // One mutant is on at a time, so the text around the edit needs no switches.
                    let before = &self.source[whole.start..edit.range.start];
                    let after = &self.source[edit.range.end..whole.end];
                    let (switch, replacement) = (on(edit.id), &edit.replacement);
                    self.mutant(edit.id, |this| {
                        this.push(format_args!(
                            "if {switch} {{ ({before}{replacement}{after}) }} else "
                        ));
                    });
                }
                self.push(format_args!("{{ ("));
                self.write(whole, inner);
                self.push(format_args!(") }})"));
            }
        }
    }

    /// Notes the bytes that `write` writes for the mutant.
    fn mutant(&mut self, id: usize, write: impl FnOnce(&mut Self)) {
        let start = self.text.len();
        write(self);
        self.ranges.push(MutantRange {
            id,
            start,
            end: self.text.len(),
        });
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.text
            .write_fmt(text)
            .expect("a string takes every text");
    }
}

fn on(id: usize) -> String {
    format!("crate::mutant_switch::on({id})")
}
