//! Tests of the programs for each framework.

mod controls;
mod errors;
mod hang_ups;
mod lambda;
mod mounted;
mod pages;
mod programs;
mod servers;
mod support;
