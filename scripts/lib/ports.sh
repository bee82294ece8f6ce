# Free ports for scripts. Sourced, never run.

port_is_taken() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# free_port USUAL: the usual port, or a free one when somebody listens there.
# A port handed out before is not handed out again.
PORTS_GIVEN=" "
free_port() {
  local port=$1
  while port_is_taken "$port" || [[ $PORTS_GIVEN == *" $port "* ]]; do
    port=$((20000 + RANDOM % 10000))
  done
  PORTS_GIVEN="$PORTS_GIVEN$port "
  FREE_PORT=$port
}

# wait_for WHAT PID URL: until the URL answers anything, as long as PID lives.
wait_for() {
  local what=$1 pid=$2 url=$3 deadline=$((SECONDS + 30))
  until curl -s -o /dev/null --max-time 2 "$url"; do
    kill -0 "$pid" 2>/dev/null || return 1
    if [ "$SECONDS" -ge "$deadline" ]; then
      say "$what does not answer at $url"
      return 1
    fi
    sleep 0.1
  done
}
