package state

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// RedisOptions are the options of a State in Redis: a single server, a master that Sentinel names, or a Cluster.
type RedisOptions struct {
	Addresses        []string // of the servers, or of the sentinels if Master is set
	Master           string   // the name of the master that the sentinels watch
	Cluster          bool     // Addresses are nodes of a Redis Cluster
	Username         string
	Password         string
	SentinelPassword string
	TLS              *tls.Config
	DB               int
	Prefix           string           // of all keys, "postern:" by default
	Timeout          time.Duration    // of one question, 100 ms by default
	Now              func() time.Time // the clock of all decisions; time.Now by default
	Shadow           MemoryOptions    // of the memory that answers while Redis is away; its Now and Log may be left out
	Log              *slog.Logger
	// Alarm is called once for each change, from one goroutine: it must not wait for the State.
	Alarm func(degraded bool, why string)
}

// shared is state in Redis, with a shadow in memory that is kept warm with all that Redis answers.
type shared struct {
	client    redis.UniversalClient
	patient   redis.UniversalClient // the same servers, with time to answer: for ping
	scripts   scripts
	local     *memory
	prefix    string
	timeout   time.Duration
	log       *slog.Logger
	alarm     func(degraded bool, why string)
	outage    outage
	owed      owed
	born      string // what the marker in Redis said, see mark
	refilling atomic.Bool
	trust     atomic.Int64 // until when the shadow may know more than Redis does, see trusted
	stop      context.CancelFunc
	stopped   context.Context
	watching  sync.WaitGroup
}

// NewRedis makes a State that is shared through Redis. That Redis is away is no error: the State begins degraded.
func NewRedis(o RedisOptions) (*State, error) {
	if len(o.Addresses) == 0 {
		return nil, errors.New("state: redis: no address")
	}
	if o.Master != "" && o.Cluster {
		return nil, errors.New("state: redis: a master's name is for Sentinel, a Cluster has none")
	}
	if o.Prefix == "" {
		o.Prefix = "postern:"
	}
	if o.Timeout <= 0 {
		o.Timeout = 100 * time.Millisecond
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Shadow.Now == nil {
		o.Shadow.Now = o.Now
	}
	if o.Shadow.Log == nil {
		o.Shadow.Log = o.Log
	}
	local, err := openMemory(o.Shadow)
	if err != nil {
		return nil, err
	}
	logging.Disable() // it writes to stderr; what fails is ours to log
	r := &shared{
		client: redis.NewUniversalClient(o.client()), scripts: newScripts(), local: local,
		prefix: o.Prefix, timeout: o.Timeout, log: o.Log, alarm: o.Alarm,
	}
	o.Timeout = patientTimeout
	patient := o.client()
	patient.PoolSize = 2
	r.patient = redis.NewUniversalClient(patient)
	r.outage.news, r.outage.since = make(chan struct{}, 1), local.clock()
	r.stopped, r.stop = context.WithCancel(context.Background())
	r.look()
	r.tell()
	r.watching.Go(r.watch)
	return &State{local: local, shared: &remote{rates: r, tallies: r, sets: r, values: r, all: r, outage: r}}, nil
}

// client are the options of go-redis: it asks once and quickly, for a second try is ours to decide.
func (o RedisOptions) client() *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs: o.Addresses, MasterName: o.Master, IsClusterMode: o.Cluster, DB: o.DB,
		Username: o.Username, Password: o.Password, SentinelPassword: o.SentinelPassword, TLSConfig: o.TLS,
		Protocol: 2, DisableIdentity: true, // the least that every server and proxy knows
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		MaxRetries:               -1, DialerRetries: 1,
		DialTimeout: o.Timeout, ReadTimeout: o.Timeout, WriteTimeout: o.Timeout, PoolTimeout: o.Timeout,
		ContextTimeoutEnabled: true, PoolSize: 64, ConnMaxIdleTime: 5 * time.Minute,
	}
}

func (r *shared) close() {
	r.stop()
	r.watching.Wait()
	if !r.outage.away.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = r.settle(ctx) // what can't be told now is lost: the shadow goes with it
	}
	_ = r.client.Close()
	_ = r.patient.Close()
}

// patientTimeout is how long ping waits at most.
const patientTimeout = 10 * time.Second

// now says how the outage is, if there is one.
func (r *shared) now() (degraded bool, since time.Time, why string) { return r.outage.now() }

// ping tells a server that is slow from one that is silent.
func (r *shared) ping(ctx context.Context) error {
	begun := time.Now()
	if err := r.patient.Ping(ctx).Err(); err != nil {
		return err
	}
	took := time.Since(begun)
	away, _, why := r.outage.now()
	switch {
	case away && took > r.timeout:
		return fmt.Errorf("%w: after %s, and a question has %s", ErrSlow, took.Round(time.Millisecond), r.timeout)
	case away:
		return errors.New(why)
	}
	return nil
}

// name is a key's name in Redis. What is kept under one key has a name for each sort.
func (r *shared) name(sort byte, key string) string {
	return r.prefix + string(sort) + ":" + key
}

// ask puts one question to Redis and says whether it was answered. The first that is not makes an outage; while it
// lasts, nothing is asked and nobody waits.
func (r *shared) ask(ctx context.Context, key string, question func(context.Context) error) (answered bool) {
	if r.outage.away.Load() {
		return false
	}
	bounded, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	err := question(bounded)
	if err == nil || errors.Is(err, redis.Nil) {
		return true
	}
	if ctx.Err() == nil && !foreign(err) { // if the caller has left, Redis is not to blame
		r.outage.begin(key, err, r.local.clock())
	}
	return false
}

// errForeign is for what we did not write.
var errForeign = errors.New("something else is under a key of ours")

// foreign says whether an error is about one key only and not about the server.
func foreign(err error) bool {
	return errors.Is(err, errForeign) || redis.HasErrorPrefix(err, "WRONGTYPE")
}

// trusted says whether what the shadow knows counts, as after an outage: Redis may have lost it.
func (r *shared) trusted() bool {
	until := r.trust.Load()
	return until != 0 && r.local.now() < until
}
