//! One scenario for each rule of the pair, and for each way to get it wrong.

mod answer;
mod bounds;
mod choice;
mod ends;
mod scene;
