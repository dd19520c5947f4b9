//! Granted trees, denied users and limits, with real users: who is served what beyond their own rights, what the
//! kernel refuses an opener that was taken over, and who may take how much.

mod beneath;
mod captured;
mod contents;
mod limits;
mod mounts;
mod races;
mod stage;
mod subjects;
