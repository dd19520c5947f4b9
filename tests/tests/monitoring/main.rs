//! What an administrator, a collector and a health check see of a broker.

mod exposition;
mod health;
mod metrics;
mod reload;
mod watch;
