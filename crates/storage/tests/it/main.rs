//! The message log by its door, on the simulated disk and on the real one.

mod basics;
mod bounds;
mod damage;
mod errors;
mod histories;
mod skipped;
