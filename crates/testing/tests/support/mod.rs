//! A client that sees every byte.
#![allow(dead_code)] // Each test binary uses a part of it.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// One connection, read and written by hand.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

/// A reply as it stood on the wire, the body put together again.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) chunks: Vec<Vec<u8>>,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Everything until the connection ends, and how it ended.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, std::io::Result<()>) {
        let mut bytes = std::mem::take(&mut self.read);
        let end = self.stream.read_to_end(&mut bytes).await.map(|_| ());
        (bytes, end)
    }

    /// Reads until these bytes have come; returns everything up to and with them.
    pub(crate) async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            let found = self.read.windows(end.len()).position(|part| part == end);
            if let Some(at) = found {
                let rest = self.read.split_off(at + end.len());
                return std::mem::replace(&mut self.read, rest);
            }
            assert!(
                self.more().await > 0,
                "the connection ended after {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
    }

    /// Reads one whole reply, by its content-length or its chunks.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = String::from_utf8(self.until(b"\r\n\r\n").await).unwrap();
        let status = head[9..12].parse().unwrap();
        let lower = head.to_ascii_lowercase();
        let mut chunks = Vec::new();
        if lower.contains("transfer-encoding: chunked") {
            loop {
                let line = String::from_utf8(self.until(b"\r\n").await).unwrap();
                let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
                let chunk = self.exactly(size + 2).await;
                assert!(chunk.ends_with(b"\r\n"));
                if size == 0 {
                    break;
                }
                chunks.push(chunk[..size].to_vec());
            }
        } else {
            let (_, length) = lower.split_once("content-length: ").unwrap();
            let length = length.lines().next().unwrap().parse().unwrap();
            chunks.push(self.exactly(length).await);
        }
        Answer {
            status,
            head,
            body: chunks.concat(),
            chunks,
        }
    }

    pub(crate) async fn ask(&mut self, path: &str, body: &Value) -> Answer {
        self.send(post(path, body)).await;
        self.answer().await
    }

    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            assert!(self.more().await > 0, "the connection ended in a body");
        }
        let rest = self.read.split_off(length);
        std::mem::replace(&mut self.read, rest)
    }

    async fn more(&mut self) -> usize {
        self.stream.read_buf(&mut self.read).await.unwrap()
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The data of every event, one event a chunk.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = self.text();
        let events = text.split_terminator("\n\n").map(|event| {
            let lines = event.lines().filter_map(|line| line.strip_prefix("data: "));
            lines.collect::<Vec<_>>().join("\n")
        });
        events.collect()
    }
}

/// The bytes of a POST with a JSON body.
pub(crate) fn post(path: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
