//! Tests of the programs for each framework.

mod controls;
mod lambda;
mod pages;
mod servers;
mod support;
