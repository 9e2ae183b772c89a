//! `leveret ctl`: rabbitmqctl's verbs, arguments, output and exit codes, on a running broker.
//!
//! A command line is parsed (`line.rs`) against the table of verbs (`verbs/`), its banner printed, one
//! request sent over the control socket in the data directory, and the answer printed (`output.rs`).
//! Deliberately absent: what belongs to Erlang (nodes, cookies, eval), and any knowledge of the broker beyond
//! the socket's protocol.

pub(crate) mod line;
mod output;
pub(crate) mod socket;
#[cfg(test)]
mod tests;
pub(crate) mod verbs;

use std::io::{BufRead, Write};
use std::process::ExitCode;

use server::control::protocol::{Cell, Request, Response};

use line::Line;
use verbs::Act;

/// rabbitmqctl's exit codes, which are those of sysexits.h.
mod exit {
    pub(super) const OK: u8 = 0;
    pub(super) const USAGE: u8 = 64;
    pub(super) const DATAERR: u8 = 65;
    pub(super) const NOUSER: u8 = 67;
    pub(super) const UNAVAILABLE: u8 = 69;
    pub(super) const SOFTWARE: u8 = 70;
    pub(super) const TEMPFAIL: u8 = 75;
}

/// Why a command ends early: what to print on standard error, and the code to exit with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    code: u8,
    text: String,
}

impl Refusal {
    fn new(code: u8, text: impl Into<String>) -> Refusal {
        Refusal {
            code,
            text: text.into(),
        }
    }
}

/// Runs `leveret ctl` with the arguments after `ctl`.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let mut terminal = Terminal {
        input: &mut std::io::stdin().lock(),
        output: &mut std::io::stdout().lock(),
        errors: &mut std::io::stderr().lock(),
    };
    ExitCode::from(execute(arguments, &mut terminal, |line, request| {
        socket::ask(line, request)
    }))
}

/// Where a command reads and prints.
struct Terminal<'a> {
    input: &'a mut dyn BufRead,
    output: &'a mut dyn Write,
    errors: &'a mut dyn Write,
}

impl Terminal<'_> {
    /// A terminal that is gone is nobody's loss: the command has done its work.
    fn print(&mut self, text: &str) {
        let _ = self
            .output
            .write_all(text.as_bytes())
            .and_then(|()| self.output.flush());
    }
}

/// Runs one command and says what to exit with.
fn execute(
    arguments: &[String],
    terminal: &mut Terminal<'_>,
    mut ask: impl FnMut(&Line, &Request) -> Result<Response, Refusal>,
) -> u8 {
    match try_execute(arguments, terminal, &mut ask) {
        Ok(()) => exit::OK,
        Err(refusal) => {
            let _ = writeln!(terminal.errors, "{}", refusal.text);
            refusal.code
        }
    }
}

fn try_execute(
    arguments: &[String],
    terminal: &mut Terminal<'_>,
    ask: Ask<'_>,
) -> Result<(), Refusal> {
    let Some(mut line) = line::parse(arguments)? else {
        terminal.print(&verbs::all_usages());
        return Ok(());
    };
    if line.help {
        terminal.print(&format!("\n{}\n", line.verb.usage_text()));
        return Ok(());
    }
    let banner = (line.verb.banner)(&line);
    if !banner.is_empty() && line.shows_banner() {
        terminal.print(&format!("{banner}\n"));
    }
    read_password(&mut line, terminal)?;
    match line.verb.act {
        Act::Local(act) => {
            let text = act(&line)?;
            terminal.print(&format!("{text}\n"));
        }
        Act::Ask(request) => {
            let response = ask(&line, &request(&line))?;
            terminal.print(&output::render(&line, response)?);
        }
        Act::Do { request, render } => {
            let text = match ask(&line, &request(&line)?)? {
                failed @ Response::Failed(_) => output::render(&line, failed)?,
                response => render(&line, response)?,
            };
            terminal.print(&text);
        }
        Act::DoNothing(text) => {
            let answer = output::render(&line, ask(&line, &verbs::QUESTION)?)?;
            let text = text(&line)?;
            // In JSON there is always an object.
            let shown = if text.is_empty() { answer } else { text };
            terminal.print(&shown);
        }
        Act::Report { once, per_vhost } => report(&line, terminal, ask, once, per_vhost)?,
        Act::Follow(duration_s) => {
            let location = ask(&line, &Request::LogLocation)?;
            let path = verbs::log::path(&line, location)?;
            verbs::log::follow(&path, duration_s(&line), &mut |text| terminal.print(text))?;
        }
    }
    Ok(())
}

/// Runs verb after verb, each as if it had been typed.
fn report(
    line: &Line,
    terminal: &mut Terminal<'_>,
    ask: Ask<'_>,
    once: &[&str],
    per_vhost: &[&str],
) -> Result<(), Refusal> {
    let columns = vec!["name".to_owned()];
    let vhosts = match ask(line, &Request::ListVhosts { columns })? {
        Response::Rows(rows) => rows,
        refused => return output::render(line, refused).map(drop),
    };
    let names = vhosts.iter().filter_map(|row| match row.first() {
        Some(Cell::Text(name)) => Some(name.as_str()),
        _ => None,
    });
    let dir = line.data_dir.display().to_string();
    let mut run = |command: &str, vhost: Option<&str>| {
        let words = command.split(' ');
        let place = ["--data-dir", &dir].into_iter();
        let vhost = vhost.into_iter().flat_map(|name| ["--vhost", name]);
        let arguments: Vec<String> = words.chain(place).chain(vhost).map(str::to_owned).collect();
        let outcome = try_execute(&arguments, terminal, ask);
        terminal.print("\n");
        outcome
    };
    for command in once {
        run(command, None)?;
    }
    for name in names {
        for command in per_vhost {
            run(command, Some(name))?;
        }
    }
    Ok(())
}

/// Sends a request and gets its answer.
type Ask<'a> = &'a mut dyn FnMut(&Line, &Request) -> Result<Response, Refusal>;

/// Reads the password from standard input if the command line lacks it.
fn read_password(line: &mut Line, terminal: &mut Terminal<'_>) -> Result<(), Refusal> {
    let Some(at) = line.verb.password_at else {
        return Ok(());
    };
    if line.arguments.len() != at {
        return Ok(());
    }
    if line.shows_banner() {
        let hashed = line.has("pre-hashed-password");
        terminal.print(if hashed {
            "Hashed and salted password: \n"
        } else {
            "Password: \n"
        });
    }
    let mut text = String::new();
    let read = terminal.input.read_line(&mut text);
    if !matches!(read, Ok(bytes) if bytes > 0) {
        let code = if line.verb.name == "add_user" {
            exit::DATAERR
        } else {
            exit::SOFTWARE
        };
        return Err(Refusal::new(
            code,
            "Error:\nPassword is not provided via argument or stdin",
        ));
    }
    line.arguments.push(text.trim().to_owned());
    Ok(())
}
