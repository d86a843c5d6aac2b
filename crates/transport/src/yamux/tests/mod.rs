//! Tests of the machine from outside, in virtual time.
