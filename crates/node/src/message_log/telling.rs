//! What the message log has to say to whoever runs the broker, as lines of its own log.

use std::time::Duration;

use storage::{Damage, Progress};

/// A start that takes longer says how far it has come, and says it again after each such time.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the progress of an open was told.
#[derive(Default)]
pub(super) struct Telling {
    told: u32,
}

impl Telling {
    /// Says how far an open has come, if it is time to. `since`: how long it takes already.
    pub(super) fn tell(&mut self, progress: Progress, since: Duration) {
        if self.is_due(since) {
            tracing::info!(
                files = progress.files,
                files_read = progress.files_done,
                "the message log is being read"
            );
        }
    }

    fn is_due(&mut self, since: Duration) -> bool {
        let times = (since.as_secs() / PATIENCE.as_secs()) as u32;
        let due = self.told < times;
        self.told = self.told.max(times);
        due
    }
}

/// Says that a file is damaged, which is said once for each.
pub(super) fn say_damage(damage: &Damage) {
    tracing::error!(
        file = damage.file,
        offset = damage.offset,
        "the message log is damaged: {damage}. The file is left as it is and the rest goes on. `leveret repair`, while \
         no broker runs, keeps what is whole"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_open_is_told_of_once_a_second() {
        let mut told = Telling::default();
        let at = [0, 999, 1000, 1001, 1999, 2000, 5100, 5900, 6000];
        let due = at.map(|ms| told.is_due(Duration::from_millis(ms)));
        let expected = [0, 0, 1, 0, 0, 1, 1, 0, 1].map(|due| due == 1);
        assert_eq!(due, expected);
    }
}
