//! Members of objects that a serializer moved or added.

use std::ops::Range;

use super::token::{Container, Kind, Token, Tokens, is_white_space};

/// The largest text whose members are moved and dropped.
const LARGEST: usize = 256 * 1024;
/// The depth of nesting up to which a single member is dropped.
const DEPTH: usize = 3;
/// The most members that are dropped, one in each variant.
const SINGLE: usize = 64;
/// The most containers without elements that are swapped.
const EMPTY: usize = 64;
/// The most containers without elements that are swapped in every combination.
const FREE: usize = 5;
/// The most orders of members that are tried without a rule.
const ORDERS: usize = 5_040;

/// A text that is split into its objects and their members.
#[derive(Debug)]
pub(super) struct Objects<'a> {
    text: &'a [u8],
    /// The objects, in the order of their starts.
    objects: Vec<Object>,
    /// The brackets of the first containers without elements.
    empty: Vec<(Container, Range<usize>)>,
}

#[derive(Debug)]
struct Object {
    span: Range<usize>,
    members: Vec<Member>,
    depth: usize,
}

#[derive(Debug)]
struct Member {
    span: Range<usize>,
    /// The end of the name.
    name_end: usize,
}

/// A change of the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// The members of each object are in another order.
    Sorted(Order),
    /// The members of each object are in the order with this number.
    Permuted(usize),
    /// All members whose value is `null` are left out.
    WithoutNulls,
    /// All members whose value is `null`, `""`, `[]` or `{}` are left out.
    WithoutEmpty,
    /// The arrays without elements are objects in these places, or the reverse.
    Swapped(u64),
    /// The member with this index is left out of the object with that index.
    Without { object: usize, member: usize },
}

/// A rule for the order of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The bytes of the names decide.
    Name,
    /// The length of the names decides, and then their bytes, as in `jsonb`.
    Length,
    /// These names are first. For the others, their bytes decide.
    First(&'static [&'static str]),
}

/// The names that providers put first, though a serializer would sort them.
const FIRST: [&[&str]; 10] = [
    &["id", "object"],
    &["id", "type"],
    &["id", "name"],
    &["id"],
    &["type", "id"],
    &["type"],
    &["event"],
    &["event", "id"],
    &["action"],
    &["object", "id"],
];

impl<'a> Objects<'a> {
    /// Splits `text`, which is complete JSON. Returns `None` if it is too large.
    pub(super) fn of(text: &'a [u8]) -> Option<Self> {
        if text.len() > LARGEST {
            return None;
        }
        let mut parsed = Self {
            text,
            objects: Vec::new(),
            empty: Vec::new(),
        };
        let mut open: Vec<usize> = Vec::new();
        let mut tokens = Tokens::new(text);
        let mut last = 0;
        while let Some(token) = tokens.next() {
            let end = token.start + token.text.len();
            parsed.note_empty(&token, last);
            if token.kind == Kind::ObjectStart {
                open.push(parsed.objects.len());
                parsed.objects.push(Object {
                    span: token.start..end,
                    members: Vec::new(),
                    depth: tokens.open().len(),
                });
            }
            let object = open.last().and_then(|index| parsed.objects.get_mut(*index));
            let Some(object) = object else {
                last = end;
                continue;
            };
            match token.kind {
                Kind::Name => object.members.push(Member {
                    span: token.start..end,
                    name_end: end,
                }),
                Kind::Comma if tokens.open().last() == Some(&Container::Object) => {
                    object.end_member(last);
                }
                Kind::ObjectEnd => {
                    object.end_member(last);
                    object.span.end = end;
                    open.pop();
                }
                _ => {}
            }
            last = end;
        }
        Some(parsed)
    }

    /// Notes the brackets of a container that `token` closes, if it has no elements. `last` is
    /// the end of the token before it.
    fn note_empty(&mut self, token: &Token<'_>, last: usize) {
        let container = match token.kind {
            Kind::ObjectEnd => Container::Object,
            Kind::ArrayEnd => Container::Array,
            _ => return,
        };
        let opening = last.saturating_sub(1);
        if self.empty.len() < EMPTY && matches!(self.text.get(opening), Some(b'{' | b'[')) {
            self.empty.push((container, opening..token.start));
        }
    }

    /// Returns the number of members.
    pub(super) fn members(&self) -> usize {
        self.objects.iter().map(|object| object.members.len()).sum()
    }

    /// Whether all members are in the order of `order`.
    pub(super) fn are_sorted(&self, order: Order) -> bool {
        self.objects.iter().all(|object| {
            let members = object.members.iter();
            members.is_sorted_by_key(|member| order.key(self.name(member)))
        })
    }

    /// Whether any object has two members, so that there is an order.
    pub(super) fn have_order(&self) -> bool {
        self.objects.iter().any(|object| object.members.len() > 1)
    }

    /// Returns the likely variants, the likeliest ones first.
    pub(super) fn variants(&self) -> Vec<Variant> {
        let mut variants = vec![Variant::WithoutNulls, Variant::WithoutEmpty];
        let objects = self.objects.iter().enumerate();
        let singles = objects
            .filter(|(_, object)| object.depth <= DEPTH)
            .flat_map(|(index, object)| {
                let members = (0..object.members.len()).rev();
                members.map(move |member| Variant::Without {
                    object: index,
                    member,
                })
            });
        for kind in [Container::Array, Container::Object] {
            let empty = self.empty.iter().enumerate();
            let bits = empty.filter(|(_, (container, _))| *container == kind);
            let bits = bits.fold(0, |bits, (index, _)| bits | 1 << index);
            variants.extend((bits > 0).then_some(Variant::Swapped(bits)));
        }
        variants.extend(singles.take(SINGLE));
        if self.have_order() {
            variants.extend([Order::Name, Order::Length].map(Variant::Sorted));
            variants.extend(FIRST.map(|names| Variant::Sorted(Order::First(names))));
        }
        if self.empty.len() <= FREE {
            variants.extend((1..1 << self.empty.len()).map(Variant::Swapped));
        }
        variants
    }

    /// Returns every order of the members, if there are few.
    pub(super) fn permutations(&self) -> impl Iterator<Item = Variant> {
        let mut count: usize = 1;
        for object in &self.objects {
            for len in 1..=object.members.len() {
                count = count.saturating_mul(len);
            }
        }
        let count = if count > ORDERS { 0 } else { count };
        (1..count).map(Variant::Permuted)
    }

    /// Returns the name of the member that `variant` leaves out, with its quotes.
    pub(super) fn left_out(&self, variant: Variant) -> Option<&'a [u8]> {
        let Variant::Without { object, member } = variant else {
            return None;
        };
        Some(self.name(self.objects.get(object)?.members.get(member)?))
    }

    /// Writes the text with the members of `variant`. The white space between members is lost.
    pub(super) fn write(&self, variant: Variant) -> Vec<u8> {
        if let Variant::Swapped(bits) = variant {
            return self.swap(bits);
        }
        let mut number = match variant {
            Variant::Permuted(number) => number,
            _ => 0,
        };
        let orders: Vec<Vec<usize>> = (0..self.objects.len())
            .map(|index| self.order(index, variant, &mut number))
            .collect();
        let mut out = Vec::with_capacity(self.text.len());
        let mut work = vec![Work::Copy(0..self.text.len())];
        while let Some(item) = work.pop() {
            let span = match item {
                Work::Byte(byte) => {
                    out.push(byte);
                    continue;
                }
                Work::Copy(span) => span,
            };
            let next = self
                .objects
                .partition_point(|object| object.span.start < span.start);
            let Some(object) = self
                .objects
                .get(next)
                .filter(|object| span.contains(&object.span.start))
            else {
                out.extend_from_slice(&self.text[span]);
                continue;
            };
            out.extend_from_slice(&self.text[span.start..object.span.start]);
            out.push(b'{');
            work.push(Work::Copy(object.span.end..span.end));
            work.push(Work::Byte(b'}'));
            for (position, member) in orders[next].iter().enumerate().rev() {
                work.push(Work::Copy(object.members[*member].span.clone()));
                if position > 0 {
                    work.push(Work::Byte(b','));
                }
            }
        }
        out
    }

    /// Writes the text with other brackets around the elements that are not there.
    fn swap(&self, bits: u64) -> Vec<u8> {
        let mut out = self.text.to_vec();
        for (index, (container, span)) in self.empty.iter().enumerate() {
            if bits & (1 << index) != 0 {
                (out[span.start], out[span.end]) = match container {
                    Container::Object => (b'[', b']'),
                    Container::Array => (b'{', b'}'),
                };
            }
        }
        out
    }

    /// Returns the indices of an object's members in the order of `variant`.
    fn order(&self, index: usize, variant: Variant, number: &mut usize) -> Vec<usize> {
        let members = &self.objects[index].members;
        let mut order: Vec<usize> = (0..members.len()).collect();
        match variant {
            Variant::Sorted(rule) => {
                order.sort_by_key(|member| rule.key(self.name(&members[*member])))
            }
            Variant::Permuted(_) => {
                let mut left = std::mem::take(&mut order);
                while !left.is_empty() {
                    let digit = *number % left.len();
                    *number /= left.len();
                    order.push(left.remove(digit));
                }
            }
            Variant::WithoutNulls => {
                order.retain(|member| self.value(&members[*member]) != b"null")
            }
            Variant::WithoutEmpty => order.retain(|member| {
                let value = self.value(&members[*member]);
                !matches!(value, b"null" | b"\"\"" | b"[]" | b"{}")
            }),
            Variant::Without { object, member } if object == index => {
                order.retain(|other| *other != member);
            }
            Variant::Without { .. } | Variant::Swapped(_) => {}
        }
        order
    }

    fn name(&self, member: &Member) -> &'a [u8] {
        &self.text[member.span.start..member.name_end]
    }

    fn value(&self, member: &Member) -> &'a [u8] {
        let value = &self.text[member.name_end..member.span.end];
        let start = value
            .iter()
            .position(|byte| *byte != b':' && !is_white_space(*byte));
        &value[start.unwrap_or(0)..]
    }
}

/// A step of [`Objects::write`].
enum Work {
    Byte(u8),
    Copy(Range<usize>),
}

impl Object {
    /// Notes the end of the last member, if there is one.
    fn end_member(&mut self, end: usize) {
        if let Some(member) = self.members.last_mut() {
            member.span.end = end;
        }
    }
}

impl Order {
    /// Returns the key by which names are sorted.
    fn key(self, name: &[u8]) -> (usize, &[u8]) {
        match self {
            Self::Name => (0, name),
            Self::Length => (name.len(), name),
            Self::First(names) => {
                let bare = name.get(1..name.len() - 1).unwrap_or_default();
                let first = names.iter().position(|first| first.as_bytes() == bare);
                (first.unwrap_or(names.len()), name)
            }
        }
    }
}
