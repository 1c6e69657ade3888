//! The program that plays what `say` speaks on a terminal.

use aloud::audio::{Encoding, Format};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Programs that are looked for, in this order, and true for those that play samples from their standard input.
const KNOWN: [(&str, bool); 5] =
    [("paplay", true), ("aplay", true), ("ffplay", true), ("pw-play", false), ("afplay", false)];

/// Longest time for which a player may go on after its last byte, besides the time of [`BUFFERED_BYTES`].
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that a pipe and a player hold at most.
const BUFFERED_BYTES: u64 = 256 * 1024;

/// Interval at which the end of a player is looked for: std has no wait with a deadline.
const LOOK: Duration = Duration::from_millis(5);

/// A program that plays audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Player {
    pub(super) name: &'static str,
    path: PathBuf,
    /// True if it plays samples from its standard input as they arrive. Other players take the name of a WAV file.
    pub(super) is_live: bool,
}

/// Arguments of a player for samples from its standard input. `None` if the format has no samples.
fn arguments(player: &str, format: Format) -> Option<String> {
    let [pulse, alsa, ffmpeg] = match format.encoding {
        Encoding::PcmS16le => ["s16le", "S16_LE", "s16le"],
        Encoding::MuLaw => ["ulaw", "MU_LAW", "mulaw"],
        Encoding::ALaw => ["alaw", "A_LAW", "alaw"],
        _ => return None,
    };
    let rate = format.sample_rate_hz;
    Some(match player {
        // Without the latency the first words wait until two seconds of audio have arrived.
        "paplay" => format!("--raw --latency-msec=200 --channels=1 --rate={rate} --format={pulse}"),
        "aplay" => format!("-q -t raw -c 1 -r {rate} -f {alsa} -"),
        _ => format!("-nodisp -autoexit -loglevel error -fflags nobuffer -f {ffmpeg} -ar {rate} -i pipe:0"),
    })
}

impl Player {
    /// Finds the first known program in the folders of a `PATH`.
    pub(super) fn find(path: Option<OsString>) -> Option<Player> {
        let path = path?;
        let is_program = |path: &Path| {
            fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        KNOWN.into_iter().find_map(|(name, is_live)| {
            let path =
                env::split_paths(&path).map(|folder| folder.join(name)).find(|path| is_program(path))?;
            Some(Player { name, path, is_live })
        })
    }

    /// Starts to play samples of this format.
    pub(super) fn start(&self, format: Format) -> io::Result<Playing> {
        let Some(arguments) = arguments(self.name, format) else {
            return Err(io::Error::other(format!("it plays no {} as it arrives", format.encoding.name())));
        };
        let mut command = Command::new(&self.path);
        command.args(arguments.split(' ')).stdin(Stdio::piped()).stdout(Stdio::null());
        Ok(Playing { child: command.spawn()?, format })
    }

    /// Plays a file to its end.
    pub(super) fn play(&self, file: &Path) -> io::Result<()> {
        let status =
            Command::new(&self.path).arg(file).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        ended(status)
    }
}

/// A player at work.
pub(super) struct Playing {
    child: Child,
    format: Format,
}

impl Playing {
    /// Passes samples on. Waits while the player has enough of them.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.child.stdin {
            Some(pipe) => pipe.write_all(bytes),
            None => Ok(()),
        }
    }

    /// Waits until the last sample was played.
    pub(super) fn finish(mut self) -> io::Result<()> {
        drop(self.child.stdin.take());
        let over = Instant::now() + self.format.duration(BUFFERED_BYTES) + END_TIMEOUT;
        while Instant::now() < over {
            if let Some(status) = self.child.try_wait()? {
                return ended(status);
            }
            thread::sleep(LOOK);
        }
        self.child.kill()?;
        self.child.wait()?;
        Err(io::Error::other("it did not end after the speech"))
    }
}

fn ended(status: ExitStatus) -> io::Result<()> {
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_known_program_is_found() {
        let folder = env::temp_dir().join(format!("aloud-players-{}", std::process::id()));
        let (one, two) = (folder.join("one"), folder.join("two"));
        fs::create_dir_all(&one).unwrap();
        fs::create_dir_all(two.join("paplay")).unwrap();
        fs::write(one.join("ffplay"), "").unwrap();
        fs::write(two.join("aplay"), "").unwrap();
        let path = || Some(env::join_paths([&one, &two]).unwrap());
        assert_eq!(Player::find(path()), None, "none can be run, and one is a folder");
        for file in [one.join("ffplay"), two.join("aplay")] {
            fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let found = Player::find(path()).unwrap();
        assert_eq!((found.name, found.path.clone(), found.is_live), ("aplay", two.join("aplay"), true));
        assert_eq!(Player::find(None), None);
        fs::remove_dir_all(folder).unwrap();
    }
}
