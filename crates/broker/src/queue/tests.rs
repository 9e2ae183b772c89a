//! Tests of the queue: rules one by one as scripts, and random commands against a naive model.

mod model;
mod rules;
mod script;
