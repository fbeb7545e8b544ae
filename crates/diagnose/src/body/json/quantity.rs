//! The numbers of a text, in groups that have one form each.

use super::census::difference;
use super::number::Form;

/// The most numbers that each have a group of their own.
const EACH: usize = 6;
/// The most members that each have a group for their numbers.
const MEMBERS: usize = 12;

/// The numbers of a text. If there are few, each is a group. Otherwise the numbers of members
/// with the same name are a group, and the last group has the numbers of all further members.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers<'a> {
    is_each: bool,
    /// The names of the members whose values are in the groups. Names have their quotes.
    pub(super) names: Vec<&'a [u8]>,
    pub(super) groups: Vec<Group>,
}

/// The effect of each form on a group of numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Group([Effect; Form::COUNT]);

/// The effect of a form on numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effect {
    pub(super) delta: isize,
    pub(super) changes: bool,
}

impl Numbers<'_> {
    /// Returns the group of a number. `index` is the count of the numbers before it, and `name`
    /// is the name of its member.
    pub(super) fn group(&self, index: usize, name: &[u8]) -> usize {
        if self.is_each {
            return index;
        }
        let mut names = self.names.iter();
        names
            .position(|other| *other == name)
            .unwrap_or(self.names.len())
    }

    /// Whether a group has integers without a fraction or an exponent.
    pub(super) fn has_integers(&self) -> bool {
        let mut groups = self.groups.iter();
        groups
            .any(|group| group.effect(Form::Point).changes && !group.effect(Form::Shortest).changes)
    }

    /// Whether `form` changes any number.
    pub(super) fn changes(&self, form: Form) -> bool {
        self.groups.iter().any(|group| group.effect(form).changes)
    }
}

impl Group {
    pub(super) fn effect(&self, form: Form) -> Effect {
        self.0[form as usize]
    }

    fn count(&mut self, text: &[u8]) {
        let mut out = Vec::new();
        for (form, effect) in Form::ALL.into_iter().zip(&mut self.0) {
            out.clear();
            form.write(text, &mut out);
            effect.delta += difference(out.len(), text.len());
            effect.changes |= out != text;
        }
    }
}

/// Counts the numbers of a text in both ways.
#[derive(Debug, Default)]
pub(super) struct Counter<'a> {
    each: Numbers<'a>,
    members: Numbers<'a>,
    total: usize,
}

impl<'a> Counter<'a> {
    /// Counts the number `text` of the member `name`.
    pub(super) fn count(&mut self, name: &'a [u8], text: &[u8]) {
        self.total += 1;
        if self.total <= EACH {
            let mut group = Group::default();
            group.count(text);
            self.each.names.push(name);
            self.each.groups.push(group);
        }
        let index = self.members.group(0, name);
        if index == self.members.names.len() && index < MEMBERS {
            self.members.names.push(name);
        }
        if index == self.members.groups.len() {
            self.members.groups.push(Group::default());
        }
        if let Some(group) = self.members.groups.get_mut(index) {
            group.count(text);
        }
    }

    /// Returns the numbers in the groups that fit their count.
    pub(super) fn finish(self) -> Numbers<'a> {
        if self.total <= EACH {
            return Numbers {
                is_each: true,
                ..self.each
            };
        }
        self.members
    }
}
