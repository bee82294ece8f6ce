//! One connection to a provider, driven by the call that uses it.
//!
//! It owns the exchange of one request and one answer at a time. It is no task of
//! its own: a call that waits for its answer is woken by the socket itself. It
//! knows neither where it leads nor who uses it next.

use std::fmt;
use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use tokio::time::Instant;

use super::client::Wire;
use crate::patience::Patience;

pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// None once the connection is over.
    driver: Option<Driver>,
    /// Of all calls, one after the other.
    patience: Patience,
}

type Driver = http1::Connection<Box<dyn Wire>, Full<Bytes>>;

/// Why a request has no answer.
pub(super) enum SendError {
    /// Nothing of it was sent; it can be on another connection.
    Unsent(Box<Request<Full<Bytes>>>, hyper::Error),
    Broken(hyper::Error),
    /// It did not come in time.
    Late,
}

impl Connection {
    pub(super) async fn over(wire: Box<dyn Wire>) -> Result<Box<Self>, hyper::Error> {
        let (sender, driver) = http1::handshake(wire).await?;
        // It goes from call to call and through the pool, and is large.
        Ok(Box::new(Self {
            sender,
            driver: Some(driver),
            patience: Patience::default(),
        }))
    }

    /// Sends one request and waits for the answer's head.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        until: Instant,
    ) -> Result<Response<Incoming>, SendError> {
        let mut answered = pin!(self.sender.try_send_request(request));
        let driver = &mut self.driver;
        let answer = poll_fn(|context| {
            drive(driver, context);
            answered.as_mut().poll(context)
        });
        let answer = self.patience.wait(until, answer).await;
        answer.ok_or(SendError::Late)?.map_err(|mut failed| {
            let unsent = failed.take_message();
            match unsent {
                Some(request) => SendError::Unsent(Box::new(request), failed.into_error()),
                None => SendError::Broken(failed.into_error()),
            }
        })
    }

    /// The next bytes of the answer's body, or its end; None where they do not come
    /// in time.
    pub(super) async fn next(
        &mut self,
        body: &mut Incoming,
        until: Instant,
    ) -> Option<Result<Option<Bytes>, hyper::Error>> {
        let driver = &mut self.driver;
        let next = poll_fn(|context| Self::poll_next(driver, body, context));
        self.patience.wait(until, next).await
    }

    fn poll_next(
        driver: &mut Option<Driver>,
        body: &mut Incoming,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, hyper::Error>> {
        let mut is_driven = false;
        loop {
            match Pin::new(&mut *body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers say nothing that anybody asked for.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Pending if is_driven => return Poll::Pending,
                Poll::Pending => {
                    // What it reads is there at the next look.
                    drive(driver, context);
                    is_driven = true;
                }
            }
        }
    }

    /// Whether another request can be sent: the last answer has been read to its
    /// end, and the provider has not closed the connection.
    pub(super) async fn is_free(&mut self) -> bool {
        poll_fn(|context| {
            drive(&mut self.driver, context);
            Poll::Ready(())
        })
        .await;
        self.driver.is_some() && self.sender.is_ready()
    }
}

fn drive(driver: &mut Option<Driver>, context: &mut Context<'_>) {
    // How it ended is told to whoever waits for the answer or its body.
    if let Some(open) = driver
        && Pin::new(open).poll(context).is_ready()
    {
        *driver = None;
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}
