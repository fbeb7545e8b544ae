//! The forms of numbers and dates that a provider may have used.

use std::collections::BTreeMap;

use super::census::Census;
use super::date;
use super::number::Form;
use super::quantity::Numbers;
use super::style::Values;

/// The most combinations of forms that are considered.
const MOST: usize = 5_000;
/// The most groups of numbers that are combined freely.
const FREE: usize = 6;
/// The cost of a free combination.
const FREE_COST: u8 = 7;

/// Returns the values that make a difference to the text of `census`, each with a number that is
/// at most `most`, and higher for the less likely ones.
pub(super) fn choices(census: &Census<'_>, most: u8) -> Vec<(Values, u8)> {
    let mut choices = Choices {
        numbers: &census.numbers,
        best: BTreeMap::new(),
        most,
    };
    choices.uniform();
    choices.amounts();
    choices.single();
    choices.free();
    let mut found: Vec<_> = choices.best.into_iter().collect();
    found.sort_by_key(|(_, cost)| *cost);
    let mut values = Vec::new();
    for (numbers, cost) in found {
        let dates = census.dates.iter().map(|(form, _)| (*form, cost + 4));
        let dates = dates.filter(|(_, dated)| cost <= 1 && *dated <= most);
        for (dates, cost) in std::iter::once((date::Form::KEPT, cost)).chain(dates) {
            let numbers = numbers.clone();
            values.push((Values { numbers, dates }, cost));
        }
    }
    values.sort_by_key(|(_, cost)| *cost);
    values.truncate(MOST);
    values
}

struct Choices<'a> {
    numbers: &'a Numbers<'a>,
    best: BTreeMap<Vec<Form>, u8>,
    most: u8,
}

impl Choices<'_> {
    /// Adds choices of one form for all numbers.
    fn uniform(&mut self) {
        for (form, cost) in [
            (Form::Kept, 0),
            (Form::Shortest, 1),
            (Form::Point, 4),
            (Form::FractionCents, 4),
            (Form::Cents, 5),
            (Form::SignedExponent, 4),
            (Form::UpperExponent, 5),
            (Form::PaddedExponent, 5),
            (Form::UpperSignedExponent, 5),
            (Form::Exponent, 6),
        ] {
            self.add(vec![form; self.numbers.groups.len()], cost);
        }
    }

    /// Adds choices with one form for amounts of money, and another one for the rest.
    fn amounts(&mut self) {
        let len = self.numbers.groups.len();
        let names = self.numbers.names.iter().map(|name| is_amount(name));
        let names: Vec<bool> = names.chain(std::iter::repeat(false)).take(len).collect();
        for (amount, rest, cost) in [
            (Form::Cents, Form::Kept, 3),
            (Form::Point, Form::Kept, 3),
            (Form::Cents, Form::Shortest, 3),
            (Form::Point, Form::Shortest, 3),
            (Form::Kept, Form::Shortest, 4),
        ] {
            let forms = names.iter().map(|is| if *is { amount } else { rest });
            self.add(forms.collect(), cost);
        }
    }

    /// Adds choices in which the numbers of one group have a form of their own.
    fn single(&mut self) {
        for index in 0..self.numbers.groups.len() {
            for rest in [Form::Kept, Form::Shortest] {
                for form in [Form::Kept, Form::Shortest, Form::Point, Form::Cents] {
                    let mut forms = vec![rest; self.numbers.groups.len()];
                    forms[index] = form;
                    self.add(forms, 5);
                }
            }
        }
    }

    /// Adds every combination of forms, if there are few groups.
    fn free(&mut self) {
        let len = self.numbers.groups.len();
        if len > FREE || self.most < FREE_COST {
            return;
        }
        let choices = [Form::Kept, Form::Shortest, Form::Point, Form::Cents];
        for mut number in 0..choices.len().pow(len as u32) {
            let mut forms = Vec::with_capacity(len);
            for _ in 0..len {
                forms.push(choices[number % choices.len()]);
                number /= choices.len();
            }
            self.add(forms, FREE_COST);
        }
    }

    fn add(&mut self, mut forms: Vec<Form>, cost: u8) {
        for (form, group) in forms.iter_mut().zip(&self.numbers.groups) {
            if !group.effect(*form).changes {
                *form = Form::Kept;
            }
        }
        if cost <= self.most {
            let known = self.best.entry(forms).or_insert(cost);
            *known = cost.min(*known);
        }
    }
}

/// Whether the member `name` is likely to have an amount of money.
fn is_amount(name: &[u8]) -> bool {
    const WORDS: [&str; 16] = [
        "amount", "balance", "cost", "credit", "debit", "discount", "fee", "net", "gross", "paid",
        "price", "rate", "subtotal", "sum", "tax", "total",
    ];
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}
