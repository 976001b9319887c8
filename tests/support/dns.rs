//! DNS servers on loopback that answer as a test says.

use std::ffi::CString;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use castio::tunnel::amt::dns::Type;

use super::hosts::Host;
use super::tools;

/// Makes this text the host's /etc/resolv.conf, once and for that host alone; false after a skip.
pub fn set_resolv_conf(host: &Host, text: &str) -> bool {
    let path = std::env::temp_dir().join(format!("castio-resolv-{}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let file = CString::new(path.to_str().unwrap()).unwrap();
    let private = libc::MS_REC | libc::MS_PRIVATE;
    let mounted = host.run(|| {
        // SAFETY: paths that end in a NUL; a mount namespace of this thread's own.
        unsafe {
            check(libc::unshare(libc::CLONE_NEWNS))?;
            check(libc::mount(c"none".as_ptr(), c"/".as_ptr(), std::ptr::null(), private, std::ptr::null()))?;
            let at = c"/etc/resolv.conf".as_ptr();
            check(libc::mount(file.as_ptr(), at, std::ptr::null(), libc::MS_BIND, std::ptr::null()))
        }
    });
    // What is mounted stays.
    std::fs::remove_file(&path).unwrap();
    mounted.map_err(|error| tools::skip(&format!("/etc/resolv.conf can't be mounted over: {error}"))).is_ok()
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A query as a server sees it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub message: Vec<u8>,
    pub tcp: bool,
}

impl Asked {
    /// The question's name, as text, and its type.
    pub fn question(&self) -> (String, u16) {
        let (mut at, mut name) = (12, String::new());
        while self.message[at] != 0 {
            let end = at + 1 + usize::from(self.message[at]);
            name += &format!("{}.", std::str::from_utf8(&self.message[at + 1..end]).unwrap());
            at = end;
        }
        (name, u16::from_be_bytes([self.message[at + 1], self.message[at + 2]]))
    }

    pub fn has_edns(&self) -> bool {
        self.message[11] == 1
    }

    /// A response with these flags and answers: type and data.
    pub fn reply(&self, flags: u16, answers: &[(Type, Vec<u8>)]) -> Vec<u8> {
        let end = 12 + self.question().0.len() + 1 + 4;
        let mut message = self.message[..end].to_vec();
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        message[6..12].copy_from_slice(&[0, answers.len() as u8, 0, 0, 0, 0]);
        for (kind, data) in answers {
            message.extend([0xc0, 12]);
            message.extend(kind.0.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 99]);
            message.extend((data.len() as u16).to_be_bytes());
            message.extend(data);
        }
        message
    }
}

/// What to send back, in order.
type Script = dyn Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync;

/// A server for UDP and TCP at one port of loopback.
pub struct Server {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    pub fn new(script: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Server {
        Server::at("127.0.0.1", script)
    }

    pub fn at(host: &str, script: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Server {
        Server::on(host, 0, script)
    }

    /// Where the port is free: 0 for any.
    pub fn on(host: &str, port: u16, script: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Server {
        // The port that UDP gets may be taken for TCP.
        let (udp, tcp) = (0..100)
            .find_map(|_| {
                let udp = UdpSocket::bind((host, port)).unwrap();
                let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
                Some((udp, tcp))
            })
            .unwrap();
        let address = udp.local_addr().unwrap();
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let script: Arc<Script> = Arc::new(script);
        let answer = {
            let (asked, script) = (asked.clone(), script.clone());
            move |query: Asked| {
                asked.lock().unwrap().push(query.clone());
                script(&query)
            }
        };
        let (answer_tcp, stop_tcp, stop_udp) = (answer.clone(), stop.clone(), stop.clone());
        let serve_udp = move || {
            let mut buffer = [0; 512];
            while let Ok((len, from)) = udp.recv_from(&mut buffer) {
                if stop_udp.load(Ordering::Relaxed) {
                    return;
                }
                for reply in answer(Asked { message: buffer[..len].to_vec(), tcp: false }) {
                    udp.send_to(&reply, from).unwrap();
                }
            }
        };
        let serve_tcp = move || {
            while let Ok((mut stream, _)) = tcp.accept() {
                if stop_tcp.load(Ordering::Relaxed) {
                    return;
                }
                let mut len = [0; 2];
                stream.read_exact(&mut len).unwrap();
                let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
                stream.read_exact(&mut message).unwrap();
                for reply in answer_tcp(Asked { message, tcp: true }) {
                    // Byte by byte, as a stream may come.
                    let whole = [&(reply.len() as u16).to_be_bytes(), reply.as_slice()].concat();
                    whole.iter().for_each(|byte| stream.write_all(&[*byte]).unwrap());
                }
            }
        };
        let threads = vec![thread::spawn(serve_udp), thread::spawn(serve_tcp)];
        Server { address, asked, stop, threads }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes both.
        let _ = UdpSocket::bind((self.address.ip(), 0)).unwrap().send_to(&[0], self.address);
        let _ = TcpStream::connect(self.address);
        let ended = self.threads.drain(..).map(JoinHandle::join).all(|end| end.is_ok());
        assert!(ended || thread::panicking(), "a server failed");
    }
}
