//! Whether clients are let in: operators suspend the listeners of AMQP before they drain a broker.

use tokio::sync::watch;

/// Open until somebody closes it.
#[derive(Debug)]
pub struct Gate(watch::Sender<bool>);

impl Default for Gate {
    fn default() -> Self {
        Gate(watch::Sender::new(true))
    }
}

impl Gate {
    /// Opens or closes it; whether that changed anything.
    pub fn set(&self, open: bool) -> bool {
        self.0.send_if_modified(|is_open| {
            let changes = *is_open != open;
            *is_open = open;
            changes
        })
    }

    /// Ready once it is open, or once it is closed.
    pub async fn is(&self, open: bool) {
        let mut seen = self.0.subscribe();
        // The sender is ours: it does not go while we wait.
        let _ = seen.wait_for(|is_open| *is_open == open).await;
    }
}
