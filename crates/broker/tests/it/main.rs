//! The broker's heart from outside.

mod route_allocations;
