//! The places of a file that its mutants change, found in its syntax tree.

use std::collections::BTreeMap;
use std::ops::Range;

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, Expr, Pat, Signature};

use crate::mutant::{Genre, Mutant, Position};

/// A place with its mutants. Ranges count the bytes of the file.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) range: Range<usize>,
    pub(crate) change: Change,
}

/// The effect of the mutants of a site.
#[derive(Debug)]
pub(crate) enum Change {
    /// Delete the `const` of a function with mutants, which cannot run at compile time.
    DeleteConst,
    /// Return one of these values at the start of a function.
    Return(Vec<(usize, String)>),
    /// Delete a match arm. The range is empty, after the pattern.
    DeleteArm(usize),
    /// Replace a guard by these constants.
    Guard(Vec<(usize, String)>),
    /// Replace a part of an expression.
    Edits(Vec<Edit>),
}

/// A mutant that replaces the text of a range.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) id: usize,
    pub(crate) range: Range<usize>,
    pub(crate) replacement: String,
}

impl Change {
    /// Sorts the changes of one range: the outer ones come first.
    fn depth(&self) -> usize {
        usize::from(matches!(self, Self::Edits(_)))
    }
}

/// The places of a file, from the outer to the inner ones, and the mutants without a place.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) sites: Vec<Site>,
    /// The mutants in code that runs at compile time, which cannot call a switch.
    pub(crate) constant: Vec<usize>,
    /// The mutants that do not compile: an `||` in a chain with a `let`, and a match without an arm.
    pub(crate) unviable: Vec<usize>,
}

/// Finds the places of the mutants.
///
/// # Errors
///
/// Returns an error if the file cannot be parsed.
pub(crate) fn find(source: &str, mutants: &[&Mutant]) -> syn::Result<Found> {
    let file = syn::parse_file(source)?;
    let mut finder = Finder {
        at: BTreeMap::new(),
        sites: Vec::new(),
        unviable: Vec::new(),
        in_const: false,
    };
    for mutant in mutants {
        finder
            .at
            .entry((mutant.genre, mutant.span.start))
            .or_default()
            .push((*mutant).clone());
    }
    finder.visit_file(&file);
    let constant = finder
        .at
        .into_values()
        .flatten()
        .map(|mutant| mutant.id)
        .collect();
    let mut sites = finder.sites;
    sites.sort_by_key(|site| {
        let outer_first = usize::MAX - site.range.end;
        let first = usize::from(!site.range.is_empty());
        (site.range.start, first, outer_first, site.change.depth())
    });
    Ok(Found {
        sites,
        constant,
        unviable: finder.unviable,
    })
}

struct Finder {
    /// The mutants for which no site has been found.
    at: BTreeMap<(Genre, Position), Vec<Mutant>>,
    sites: Vec<Site>,
    unviable: Vec<usize>,
    /// Whether the code runs at compile time, so that it cannot call a switch.
    in_const: bool,
}

impl Finder {
    fn take(&mut self, genre: Genre, span: Span) -> Option<Vec<Mutant>> {
        if self.in_const {
            return None;
        }
        self.at.remove(&(genre, span.start().into()))
    }

    fn add(&mut self, range: Range<usize>, change: Change) {
        self.sites.push(Site { range, change });
    }

    fn function(&mut self, signature: &Signature, block: &Block, visit: impl FnOnce(&mut Self)) {
        let before = self.sites.len();
        if let Some(first) = block.stmts.first()
            && let Some(mutants) = self.take(Genre::FnValue, first.span())
        {
            let start = first.span().byte_range().start;
            self.add(start..start, Change::Return(replacements(mutants)));
        }
        self.within(false, visit);
        if let Some(keyword) = &signature.constness
            && self.sites.len() > before
        {
            self.add(keyword.span().byte_range(), Change::DeleteConst);
        }
    }

    /// Collects the mutants of a chain of operators. They belong to the whole chain, because another
    /// operator can have another precedence.
    fn operators(&mut self, binary: &syn::ExprBinary, chain: &mut Vec<Edit>) {
        let mutants = self
            .take(Genre::BinaryOperator, binary.op.span())
            .unwrap_or_default();
        let is_let = has_let(&binary.left) || has_let(&binary.right);
        if is_let {
            self.unviable.extend(mutants.iter().map(|mutant| mutant.id));
        } else {
            chain.extend(edits(mutants, binary.op.span().byte_range()));
        }
        for operand in [&*binary.left, &*binary.right] {
            match operand {
                Expr::Binary(inner) if !is_let => self.operators(inner, chain),
                _ => self.visit_expr(operand),
            }
        }
    }

    fn within(&mut self, in_const: bool, visit: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.in_const, in_const);
        visit(self);
        self.in_const = outer;
    }
}

fn replacements(mutants: Vec<Mutant>) -> Vec<(usize, String)> {
    mutants
        .into_iter()
        .map(|mutant| (mutant.id, mutant.replacement))
        .collect()
}

fn edits(mutants: Vec<Mutant>, range: Range<usize>) -> Vec<Edit> {
    let edit = |mutant: Mutant| Edit {
        id: mutant.id,
        range: range.clone(),
        replacement: mutant.replacement,
    };
    mutants.into_iter().map(edit).collect()
}

/// Whether the expression is a chain of `&&` with a `let`, which must stay the condition of an `if`.
fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block, |finder| {
            visit::visit_item_fn(finder, item)
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block, |finder| {
            visit::visit_impl_item_fn(finder, item)
        });
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        match &item.default {
            Some(block) => self.function(&item.sig, block, |finder| {
                visit::visit_trait_item_fn(finder, item)
            }),
            None => visit::visit_trait_item_fn(self, item),
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.within(true, |finder| visit::visit_item_const(finder, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.within(true, |finder| visit::visit_impl_item_const(finder, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.within(true, |finder| visit::visit_item_static(finder, item));
    }

    fn visit_expr_const(&mut self, expression: &'ast syn::ExprConst) {
        self.within(true, |finder| visit::visit_expr_const(finder, expression));
    }

    fn visit_type_array(&mut self, array: &'ast syn::TypeArray) {
        self.within(true, |finder| visit::visit_type_array(finder, array));
    }

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
        self.within(true, |finder| finder.visit_expr(&repeat.len));
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        self.within(false, |finder| visit::visit_expr_closure(finder, closure));
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let mut edits = Vec::new();
        self.operators(binary, &mut edits);
        if !edits.is_empty() {
            self.add(binary.span().byte_range(), Change::Edits(edits));
        }
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        if let Some(mutants) = self.take(Genre::UnaryOperator, unary.op.span()) {
            let edits = edits(mutants, unary.op.span().byte_range());
            self.add(unary.span().byte_range(), Change::Edits(edits));
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_match(&mut self, expression: &'ast syn::ExprMatch) {
        let arms = &expression.arms;
        if !arms
            .iter()
            .any(|arm| matches!(arm.pat, Pat::Wild(_)) && arm.guard.is_none())
        {
            for arm in arms {
                let deleted = self.take(Genre::MatchArm, arm.span()).unwrap_or_default();
                self.unviable.extend(deleted.iter().map(|mutant| mutant.id));
            }
        }
        visit::visit_expr_match(self, expression);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if let Some(mutants) = self.take(Genre::MatchArm, arm.span()) {
            let end = arm.pat.span().byte_range().end;
            self.add(end..end, Change::DeleteArm(mutants[0].id));
        }
        if let Some((_, guard)) = &arm.guard
            && !has_let(guard)
            && let Some(mutants) = self.take(Genre::MatchArmGuard, guard.span())
        {
            self.add(
                guard.span().byte_range(),
                Change::Guard(replacements(mutants)),
            );
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, expression: &'ast syn::ExprStruct) {
        let mut deleted = Vec::new();
        for pair in expression.fields.pairs() {
            let range = pair.value().span().byte_range();
            let end = pair
                .punct()
                .map_or(range.end, |comma| comma.span().byte_range().end);
            let mutants = self.take(Genre::StructField, pair.value().span());
            deleted.extend(edits(mutants.unwrap_or_default(), range.start..end));
        }
        if !deleted.is_empty() {
            self.add(expression.span().byte_range(), Change::Edits(deleted));
        }
        visit::visit_expr_struct(self, expression);
    }
}
