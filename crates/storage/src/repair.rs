//! Making a damaged directory one that opens, with everything that is whole.
