//! How a tool is started and told things: as a process of this same program, or as a thread of it in short tests,
//! which have no program to start.
//!
//! A tool writes `ready ADDRESS…` when it is, does what its input says line by line, and ends when the input ends.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;

/// How tools are run.
#[derive(Debug, Clone)]
pub enum How {
    /// This program, again, for each.
    Processes(PathBuf),
    /// Threads of this process. What they take of the processor cannot be told apart.
    Threads,
}

/// What a tool is: its arguments, its input, its output.
pub type Work = fn(&[String], OwnedFd, &mut dyn Write) -> Result<(), String>;

/// A tool that runs. Dropping it ends its input, and so the tool, without waiting.
#[derive(Debug)]
pub struct Tool {
    name: &'static str,
    body: Body,
    said: Box<dyn Said>,
    input: Option<Input>,
}

#[derive(Debug)]
enum Body {
    Process(Child),
    Thread(Option<JoinHandle<Result<(), String>>>),
}

#[derive(Debug)]
enum Input {
    Process(ChildStdin),
    Thread(PipeWriter),
}

trait Said: BufRead + std::fmt::Debug + Send {}
impl<T: BufRead + std::fmt::Debug + Send> Said for T {}

impl Tool {
    /// Starts a tool with arguments `--name value`.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(how: &How, name: &'static str, work: Work, arguments: &[String]) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{name} does not start: {error}");
        match how {
            How::Processes(program) => {
                let mut child = Command::new(program)
                    .arg(name)
                    .args(arguments)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .map_err(failed)?;
                let said = BufReader::new(child.stdout.take().expect("it was asked for"));
                let input = child.stdin.take().map(Input::Process);
                Ok(Self { name, body: Body::Process(child), said: Box::new(said), input })
            }
            How::Threads => {
                let (theirs, input) = io::pipe().map_err(failed)?;
                let (said, mut output): (PipeReader, PipeWriter) = io::pipe().map_err(failed)?;
                let arguments = arguments.to_vec();
                let thread = std::thread::spawn(move || work(&arguments, theirs.into(), &mut output));
                Ok(Self {
                    name,
                    body: Body::Thread(Some(thread)),
                    said: Box::new(BufReader::new(said)),
                    input: Some(Input::Thread(input)),
                })
            }
        }
    }

    /// The process, if it is one of its own.
    pub fn pid(&self) -> Option<u32> {
        match &self.body {
            Body::Process(child) => Some(child.id()),
            Body::Thread(_) => None,
        }
    }

    /// Waits for a line and gives its words.
    ///
    /// # Errors
    /// The tool has ended.
    pub fn line(&mut self) -> Result<Vec<String>, String> {
        let mut line = String::new();
        match self.said.read_line(&mut line) {
            Ok(length) if length > 0 => Ok(line.split_whitespace().map(str::to_owned).collect()),
            _ => {
                let why = self.end().err().unwrap_or_default();
                Err(format!("{} has ended. {why}", self.name))
            }
        }
    }

    /// Waits until it is ready, and gives its addresses.
    ///
    /// # Errors
    /// It ended instead.
    pub fn ready(&mut self) -> Result<Vec<String>, String> {
        let mut words = self.line()?;
        if words.first().is_none_or(|word| word != "ready") {
            return Err(format!("{} is not ready, it says {}", self.name, words.join(" ")));
        }
        words.remove(0);
        Ok(words)
    }

    /// Tells it a line.
    ///
    /// # Errors
    /// It has ended.
    pub fn tell(&mut self, line: &str) -> Result<(), String> {
        let mut text = line.to_owned();
        text.push('\n');
        let written = match &mut self.input {
            Some(Input::Process(input)) => input.write_all(text.as_bytes()),
            Some(Input::Thread(input)) => input.write_all(text.as_bytes()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        written.map_err(|error| format!("{} does not listen: {error}", self.name))
    }

    /// Ends its input and waits until it has written its log.
    ///
    /// # Errors
    /// What it complained about.
    pub fn end(&mut self) -> Result<(), String> {
        self.input = None;
        match &mut self.body {
            Body::Process(child) => match child.wait() {
                Ok(status) if status.success() => Ok(()),
                Ok(status) => Err(format!("{} ended with {status}", self.name)),
                Err(error) => Err(format!("{}: {error}", self.name)),
            },
            Body::Thread(thread) => match thread.take().map(JoinHandle::join) {
                None | Some(Ok(Ok(()))) => Ok(()),
                Some(Ok(Err(why))) => Err(format!("{}: {why}", self.name)),
                Some(Err(_)) => Err(format!("{} panicked", self.name)),
            },
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        self.input = None;
        if let Body::Process(child) = &mut self.body {
            // A tool that was not ended in good order has no log that anybody wants.
            if !matches!(child.try_wait(), Ok(Some(_))) {
                drop(child.kill());
                drop(child.wait());
            }
        }
    }
}

/// Arguments for a tool, `--name value` each.
#[derive(Debug, Default)]
pub struct Arguments(Vec<String>);

impl Arguments {
    /// Adds one.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.0.push(format!("--{name}"));
        let mut text = String::new();
        write!(text, "{value}").expect("a String takes everything");
        self.0.push(text);
        self
    }

    /// All of them.
    pub fn list(&self) -> &[String] {
        &self.0
    }
}
