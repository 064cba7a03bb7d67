//! What is claimed of the kernel, asked of the kernel.

use std::collections::HashSet;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use rustix::net::listen;

use super::*;

fn reserve(port: Port) -> Reservations {
    Reservations::of(&[port]).unwrap()
}

fn only(reservations: &Reservations) -> u16 {
    reservations.numbers()[0].1
}

/// What a server without `SO_REUSEADDR` does.
fn listen_alone(address: impl Family, number: u16) -> Result<OwnedFd, Errno> {
    let socket = bound(address, number, Reuse::Refused)?;
    listen(&socket, 8)?;
    Ok(socket)
}

#[test]
fn the_kernel_gives_a_reserved_port_to_nobody_who_asks_for_any() {
    let reserved: Vec<_> = (0..200).map(|_| reserve(Port::named("a"))).collect();
    let numbers: HashSet<u16> = reserved.iter().map(only).collect();
    assert_eq!(numbers.len(), 200);
    for reuse in [Reuse::Allowed, Reuse::Refused] {
        for _ in 0..2000 {
            let other = bound(Ipv4Addr::LOCALHOST, 0, reuse).unwrap();
            assert!(!numbers.contains(&number(&other).unwrap()));
            let Ok(other) = bound(Ipv6Addr::UNSPECIFIED, 0, reuse) else {
                continue;
            };
            assert!(!numbers.contains(&number(&other).unwrap()));
        }
    }
}

#[test]
fn nor_to_who_connects() {
    let reserved: Vec<_> = (0..200).map(|_| reserve(Port::named("a"))).collect();
    let numbers: HashSet<u16> = reserved.iter().map(only).collect();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    for _ in 0..500 {
        let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        assert!(!numbers.contains(&client.local_addr().unwrap().port()));
        server.accept().unwrap();
    }
}

#[test]
fn a_server_that_sets_reuseaddr_listens_at_a_reserved_port() {
    let reserved = reserve(Port::named("a"));
    let number = only(&reserved);
    for address in ["127.0.0.1", "0.0.0.0", "::", "::1"] {
        // std sets it.
        let server = match TcpListener::bind((address, number)) {
            Ok(server) => server,
            Err(error) if is_without_ipv6(Errno::from_io_error(&error).unwrap()) => continue,
            Err(error) => panic!("{address}: {error}"),
        };
        let mut client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let (mut accepted, _) = server.accept().unwrap();
        io::Write::write_all(&mut accepted, b"!").unwrap();
        let mut answer = [0];
        io::Read::read_exact(&mut client, &mut answer).unwrap();
        assert_eq!(&answer, b"!");
    }
}

#[test]
fn a_server_that_does_not_is_refused_while_the_port_is_held_and_not_after() {
    let mut reserved = reserve(Port::named("a"));
    let number = only(&reserved);
    reserved.release_before_start();
    let refused = listen_alone(Ipv4Addr::LOCALHOST, number).unwrap_err();
    assert_eq!(refused, Errno::ADDRINUSE);
    drop(reserved);
    listen_alone(Ipv4Addr::LOCALHOST, number).unwrap();
}

#[test]
fn an_exclusive_one_is_let_go_before_the_start_and_avoided_still() {
    let mut reserved = reserve(Port::named("a").exclusive(true));
    let number = only(&reserved);
    assert!(listen_alone(Ipv4Addr::UNSPECIFIED, number).is_err());
    reserved.release_before_start();
    let other = Reservations::of(&[Port::named("b").number(number)]);
    assert!(other.unwrap_err().is_taken());
    listen_alone(Ipv4Addr::UNSPECIFIED, number).unwrap();
    drop(reserved);
    reserve(Port::named("b").number(number));
}

#[test]
fn a_reserved_port_is_not_reserved_again_by_whomever() {
    let reserved = reserve(Port::named("a"));
    let number = only(&reserved);
    let again = Reservations::of(&[Port::named("b").number(number)]);
    assert!(again.unwrap_err().is_taken());
    drop(reserved);
    reserve(Port::named("b").number(number));
}

#[test]
fn those_of_one_that_runs_are_reserved_again_whether_or_not_it_listens() {
    for is_exclusive in [false, true] {
        let port = Port::named("a").exclusive(is_exclusive);
        let first = reserve(port.clone());
        let numbers = first.numbers();
        let number = only(&first);
        drop(first);
        for listens in [false, true] {
            let server = listens.then(|| TcpListener::bind(("127.0.0.1", number)).unwrap());
            let again = Reservations::again(std::slice::from_ref(&port), &numbers);
            assert_eq!(again.numbers(), numbers);
            let other = Reservations::of(&[Port::named("b").number(number)]);
            assert!(other.unwrap_err().is_taken());
            // It may listen at any time still.
            drop(server);
            if is_exclusive {
                listen_alone(Ipv4Addr::LOCALHOST, number).unwrap();
            } else {
                TcpListener::bind(("127.0.0.1", number)).unwrap();
            }
        }
    }
}

#[test]
fn a_fixed_number_is_as_reserved_as_a_chosen_one() {
    let number = only(&reserve(Port::named("a")));
    let reserved = reserve(Port::named("a").number(number));
    assert_eq!(only(&reserved), number);
    let again = Reservations::of(&[Port::named("b").number(number)]);
    assert!(again.unwrap_err().is_taken());
    assert!(listen_alone(Ipv4Addr::LOCALHOST, number).is_err());
    for _ in 0..2000 {
        let other = bound(Ipv4Addr::LOCALHOST, 0, Reuse::Allowed).unwrap();
        assert_ne!(super::number(&other).unwrap(), number);
    }
    TcpListener::bind(("127.0.0.1", number)).unwrap();
}

#[test]
fn a_number_that_somebody_listens_at_is_taken_and_says_so() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = server.local_addr().unwrap().port();
    let error = Reservations::of(&[Port::named("http").number(number)]);
    let error = error.unwrap_err();
    assert!(error.is_taken());
    assert!(error.to_string().contains(&format!("{number} is taken")));
    // Of many, none is left reserved when one is not to be had.
    let both = [Port::named("a"), Port::named("http").number(number)];
    Reservations::of(&both).unwrap_err();
}

#[test]
fn connections_that_the_last_server_has_left_do_not_make_a_number_taken() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    // Who closes first is the one with the wait.
    drop(server.accept().unwrap());
    drop((client, server));
    assert!(listen_alone(Ipv4Addr::UNSPECIFIED, address.port()).is_err());
    let reserved = reserve(Port::named("a").number(address.port()));
    TcpListener::bind(address).unwrap();
    drop(reserved);
}

#[test]
fn processes_never_reserve_the_same() {
    const IS_OTHER: &str = "APPTAINER_RS_TEST_PORTS";
    if std::env::var_os(IS_OTHER).is_some() {
        // One of the others: it holds some until it is told to end.
        let ports = vec![Port::named("a"); 50];
        let reserved = Reservations::of(&ports).unwrap();
        // The harness has begun a line.
        println!();
        for (_, number) in reserved.numbers() {
            println!("reserved {number}");
        }
        println!("done");
        io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let name = "instance::ports::reservation::tests::processes_never_reserve_the_same";
    let start = || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(IS_OTHER, "1")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut others: Vec<_> = (0..4).map(|_| start()).collect();
    let mut numbers = HashSet::new();
    let take_stdout = |other: &mut std::process::Child| other.stdout.take().unwrap();
    let outputs = others.iter_mut().map(take_stdout);
    let mut outputs: Vec<_> = outputs
        .map(|output| io::BufRead::lines(io::BufReader::new(output)))
        .collect();
    for output in &mut outputs {
        for line in output {
            let line = line.unwrap();
            if line == "done" {
                break;
            }
            if let Some(number) = line.strip_prefix("reserved ") {
                assert!(numbers.insert(number.parse::<u16>().unwrap()));
            }
        }
    }
    assert_eq!(numbers.len(), 200);
    for mut other in others {
        drop(other.stdin.take());
        assert!(other.wait().unwrap().success());
    }
}

#[test]
fn what_is_started_does_not_inherit_the_sockets() {
    let reserved = reserve(Port::named("a"));
    for socket in &reserved.held[0].sockets {
        let flags = rustix::io::fcntl_getfd(socket.as_fd()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
}

#[test]
fn a_machine_without_ipv6_has_the_other_family() {
    assert!(is_without_ipv6(Errno::AFNOSUPPORT));
    assert!(is_without_ipv6(Errno::ADDRNOTAVAIL));
    assert!(!is_without_ipv6(Errno::ADDRINUSE));
}
