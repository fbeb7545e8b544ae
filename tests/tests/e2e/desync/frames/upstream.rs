//! An upstream that speaks HTTP/2, and gives the hostile answers of [`answers`](super::answers).

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use hookgate_tests::http2_frames::{
    ACK, DATA, END_STREAM, Frame, PREFACE, SETTINGS, WINDOW_UPDATE, frame, read_frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};

use super::answers::{ANSWERS, End, good};
use crate::desync::sender::{GOOD, id_of_body};
use crate::desync::trial::{Arrival, Arrivals};

/// The window of the connection grows by 16 MiB, so that it never closes.
const LARGE_INCREMENT: &[u8] = &[1, 0, 0, 0];

/// Starts an upstream. Returns its address and the requests that will have arrived.
pub(super) fn start() -> (SocketAddr, Arrivals) {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    listener.set_nonblocking(true).expect("a TCP socket");
    let listener = TcpListener::from_std(listener).expect("the runtime runs");
    let arrivals = Arrivals::default();
    let all = Arc::clone(&arrivals);
    tokio::spawn(async move {
        let mut connection = 0;
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, connection, Arc::clone(&all)));
            connection += 1;
        }
    });
    (address, arrivals)
}

/// Serves a connection until one of its sides ends it.
async fn serve(stream: TcpStream, connection: usize, arrivals: Arrivals) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let (mut reader, mut writer) = stream.into_split();
    reader.read_exact(&mut [0; PREFACE.len()]).await.ok()?;
    write(&mut writer, &frame(SETTINGS, 0, 0, &[])).await?;
    write(&mut writer, &frame(WINDOW_UPDATE, 0, 0, LARGE_INCREMENT)).await?;
    let mut bodies: HashMap<u32, Vec<u8>> = HashMap::new();
    loop {
        let Frame {
            kind,
            flags,
            stream,
            payload,
        } = read_frame(&mut reader).await?;
        if kind == SETTINGS && flags & ACK == 0 {
            write(&mut writer, &frame(SETTINGS, ACK, 0, &[])).await?;
        }
        if kind != DATA {
            continue;
        }
        bodies.entry(stream).or_default().extend(payload);
        if flags & END_STREAM == 0 {
            continue;
        }
        let body = bodies.remove(&stream).unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        let id = id_of_body(&body).expect("a delivery has an id").to_owned();
        let arrival = Arrival {
            id: id.clone(),
            connection,
        };
        arrivals.lock().expect("no panic").push(arrival);
        if id.contains(GOOD) {
            write(&mut writer, &good(stream, &id)).await?;
            continue;
        }
        let index: usize = id[..4]
            .parse()
            .expect("the id has the number of its answer");
        let answer = &ANSWERS[index];
        write(&mut writer, &(answer.frames)(stream, &id)).await?;
        match answer.end {
            End::Open => {}
            End::Close => return None,
        }
    }
}

async fn write(writer: &mut OwnedWriteHalf, bytes: &[u8]) -> Option<()> {
    writer.write_all(bytes).await.ok()
}
