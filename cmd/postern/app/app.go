package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/breaker"
	"postern/policy/records/ledger"
	"postern/policy/records/lessons"
	"postern/policy/records/lists"
	"postern/policy/records/quarantine"
	"postern/policy/records/recall"
	"postern/policy/replay"
	"postern/proxy"
	"postern/proxy/access"
	"postern/proxy/console/api"
	"postern/proxy/digests"
	"postern/proxy/health"
	"postern/proxy/listen"
	"postern/proxy/probe"
	"postern/proxy/queue"
	"postern/proxy/relay"
	"postern/proxy/relay/recipients"
	"postern/proxy/retrieval"
	"postern/rules"
)

// Time limits. The sender waits up to ten minutes for the reply to its message (RFC 5321 section 4.5.3.2.6); these stay
// below.
const (
	judgeTimeout   = 90 * time.Second
	deliverTimeout = 7 * time.Minute
	drainTimeout   = 20 * time.Second
)

// House is a gateway with all its parts.
type App struct {
	Gateway    *proxy.Gateway
	Ledger     *ledger.Ledger
	Quarantine *quarantine.Quarantine
	Queue      *queue.Queue
	Relay      *relay.Relay
	Recalls    *recall.List
	Versions   *replay.Versions
	Breaker    *breaker.Breaker
	Lessons    *lessons.Journal // nil if learning is off
	Lists      *lists.Store
	acts       *api.Store
	verbs      *api.API // nil before Listen

	pipeline     atomic.Pointer[Pipeline]
	changing     sync.Mutex // guards wasMuted, and allows one change of the policy at a time
	wasMuted     []string
	listsVersion int64  // of the entries in force
	ruleFiles    string // what the folders of rules looked like at the last look, and
	rulesSettled bool   // whether that is in force
	cfg          *config.Config
	out          Outside
	certificates *listen.Certificates
	doors        []*door
	webs         []*web
	control      *web // nil before Listen
	bans         *listen.Bans
	recipients   *recipients.Recipients
	checkers     map[string]*access.Checker                    // login checkers of submission doors with auth = "imap", by name
	gate         *access.Gate                                  // nil without a POP3 or IMAP door
	verdicts     *retrieval.VerdictCache                       // the same
	letIn        func(id string, sum [sha256.Size]byte) []byte // the same
	teacher      *retrieval.Teacher                            // nil if learning is off
	directory    *recipients.LDAP                              // directory of users' servers, nil for none
	groups       *told                                         // nil without a directory that tells them
	logins       *told                                         // likewise
	reports      *reports                                      // nil if none are sent
	digests      *digests.Digests                              // the same
	reread       func() (*config.Config, error)
	alarm        *health.Alarm
	probes       probe.Record
	lost         givenUp
	table        health.Table
	frozen       frozenUsers
	asked        *recipients.LDAP // directory of recipients, nil for none
	masking      *masking         // nil without a POP3 or IMAP door
	ready        atomic.Bool      // all doors listen
	started      time.Time
	closers      []func(context.Context) error // closers, the first opened first
	closing      sync.Once
	stop         context.CancelFunc
	running      sync.WaitGroup
}

// Open puts a house together from a configuration that was checked. Nothing listens yet.
func Open(cfg *config.Config, out Outside) (_ *App, err error) {
	h := &App{cfg: cfg, out: out.withDefaults(), stop: func() {}}
	h.started = h.out.Now()
	h.out.RuleCosts = &rules.Costs{}
	h.out.Shelved = h.frozen.changed
	h.table.Now, h.table.Changed = h.out.Now, h.dependencyChanged
	h.alarm = health.NewAlarm(time.Duration(cfg.Alerts.After), h.out.Now, h.alert)
	defer func() {
		if err != nil {
			h.Close()
		}
	}()
	for _, step := range []func() error{
		h.makeFolders, h.openMemory, h.openVersions, h.openLists, h.openDirectory, h.openPipeline, h.openStores, h.openReports,
		h.openGateway, h.openActs, h.openAccess, h.openQuarantineVerbs,
		func() error { return h.watchDependencies(h.pipeline.Load()) }, // behind all that opens one
		h.finishReleases,
	} {
		if err = step(); err != nil {
			return nil, err
		}
	}

	return h, nil
}

// later registers a closer; the last registered runs first.
func (h *App) later(closing func(context.Context) error) { h.closers = append(h.closers, closing) }

// laterPlain is later for closers that need no context.
func (h *App) laterPlain(closing func() error) {
	h.later(func(context.Context) error { return closing() })
}

func (h *App) openMemory() (err error) {
	if h.out.State, err = openState(h.cfg, h.out); err != nil {
		return err
	}
	h.laterPlain(h.out.State.Close)
	h.bans = newBans(h.cfg, h.out)
	c := h.cfg.PolicyBreaker
	h.Breaker = breaker.New(breaker.Options{Never: c.Never, Proof: h.proofToMute, Convictions: c.Convictions, For: time.Duration(c.Mute), Now: h.out.Now})

	return nil
}

func (h *App) openVersions() (err error) {
	if h.Versions, err = replay.OpenVersions(PolicyStore(h.cfg)); err != nil {
		return err
	}
	h.laterPlain(h.Versions.Close)

	return nil
}

func (h *App) openPipeline() error {
	pipeline, err := NewPipeline(h.cfg, h.out)
	if err != nil {
		return err
	}
	h.pipeline.Store(pipeline)
	h.sayLeftOut(pipeline)
	h.sayBadLines(pipeline, nil)
	h.ruleFiles, h.rulesSettled = lookAtRules(pipeline), true

	return nil
}

func (h *App) openReports() (err error) {
	if h.reports, err = openReports(h.cfg, h.out, h.pipeline.Load().DNS, h.Queue); err != nil || h.reports == nil {
		return err
	}
	h.later(h.reports.reporter.Store.Close)

	return nil
}

// openGateway makes the gateway that processes messages.
func (h *App) openGateway() error {
	cfg := h.cfg
	signer, err := newSigner(cfg, h.out)
	if err != nil {
		return err
	}
	h.Gateway = &proxy.Gateway{
		Hostname: cfg.Hostname, HeaderName: cfg.SMTP.HeaderName, SubjectTag: cfg.SMTP.SubjectTag, Strip: cfg.SMTP.StripHeaders,
		Relay: h.Relay, Queue: h.Queue, Quarantine: h.Quarantine, Ledger: h.Ledger, Log: h.out.Log, Now: h.out.Now,
		Heavy: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)), JudgeTimeout: judgeTimeout, DeliverTimeout: deliverTimeout,
		KeepRejected: time.Duration(cfg.Quarantine.HoldRejected), SealDomain: cfg.ARC.Domain, SealAll: cfg.ARC.Seal == "all",
	}
	h.hearVerdicts()
	if signer != nil {
		h.Gateway.Signer, h.Gateway.Sealer = signer, signer
	}
	if h.reports != nil {
		h.Gateway.Witness = h.reports
	}

	if h.recipients, h.asked, err = newRecipients(cfg, h.out); err != nil {
		return err
	}
	h.laterPlain(h.recipients.Close)
	h.Gateway.Use(h.setup(cfg, h.pipeline.Load()))

	return nil
}

// openActs opens the tokens and the audit log.
func (h *App) openActs() (err error) {
	if h.acts, err = api.OpenStore(AdminStore(h.cfg), h.out.Log); err != nil {
		return err
	}
	h.laterPlain(h.acts.Close)

	return nil
}

func (h *App) makeFolders() error {
	for _, dir := range []string{h.cfg.DataDir, h.dir("spool"), h.dir("queue"), h.dir("quarantine"), h.dir("tls")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("data_dir: %w: make it, or name another one with data_dir", err)
		}
	}
	return nil
}

// finishReleases queues messages that were claimed for release when the program last crashed. Those that fail stay
// claimed until the next start, and delay no other mail.
func (h *App) finishReleases() error {
	ctx := context.Background()
	releases, err := h.Quarantine.Unfinished(ctx)
	for _, r := range releases {
		failed := h.Releaser().Finish(ctx, r, func(item proxy.QueueItem, c mail.Copy) error { return h.Queue.Put(ctx, item, c) })
		if failed != nil {
			h.out.Log.Error("a release that was cut short can't be finished", "id", r.Item, "error", failed)
		}
	}
	return err
}

func (h *App) dir(name string) string { return filepath.Join(h.cfg.DataDir, name) }

// setup makes the settings that a reload replaces.
func (h *App) setup(cfg *config.Config, j *Pipeline) *proxy.Setup {
	s := &proxy.Setup{Chain: j.Chain, Policy: j.Policy, Fetched: j.Fetched, Epoch: j.Epoch, QueueWhenDown: map[mail.Route]bool{}, Postmaster: postmaster(cfg), Recipients: h.recipients}
	s.Route = func(domain string) (mail.Route, bool) {
		if !cfg.Local(domain) {
			return mail.Route{}, false
		}
		return cfg.Route(domain), true
	}
	s.Transparent, s.FromClient = map[string]bool{}, map[string]bool{}
	for _, d := range h.cfg.Doors { // they change with a restart only
		s.Transparent[d.Name], s.FromClient[d.Name] = d.Transparent, d.FromClient
	}
	for name, hop := range cfg.NextHops {
		s.QueueWhenDown[mail.RouteTo(name)] = hop.WhenDown == "queue"
	}
	if h.groups != nil {
		s.Groups = h.groups.of
	}
	if err := h.try(context.Background(), cfg, s, j); err != nil {
		h.out.Log.Error("no policy is tried", "error", err)
	}
	if len(cfg.Outbound.Addresses) > 0 {
		s.Outbound = outboundRoute()
		s.QueueWhenDown[s.Outbound] = cfg.Outbound.WhenDown == "queue"
	}
	return s
}

// postmaster is the first domain of ours: where mail for <postmaster> goes.
func postmaster(cfg *config.Config) string {
	for _, d := range cfg.Domains {
		if d[0] != '.' {
			return d
		}
	}
	return cfg.Hostname
}

// Reload puts what may change while we run in force: domains, routes to known hops, filters, rules, policy and
// certificates. If anything is wrong the old settings stay.
func (h *App) Reload(cfg *config.Config) error {
	h.changing.Lock()
	defer h.changing.Unlock()

	return h.change(cfg)
}

// change does what Reload does; the caller holds changing.
func (h *App) change(cfg *config.Config) error {
	out := h.out
	out.Muted = h.mutedSymbols()
	out.compiled = h.pipeline.Load().rules
	j, err := NewPipeline(cfg, out)
	if err != nil {
		return err
	}
	if err := h.certificates.Reload(); err != nil {
		return err
	}
	if err := h.watchDependencies(j); err != nil {
		return err
	}
	h.pipeline.Store(j)
	h.Gateway.Use(h.setup(cfg, j))
	if names := h.cfg.NeedRestart(cfg); len(names) > 0 {
		h.out.Log.Warn("these sections have changed and need a restart, until then the old settings hold", "sections", strings.Join(names, ", "))
	}
	return nil
}

// Reloader sets how the configuration is read again when the command line asks for it. It is set before Listen.
func (h *App) Reloader(read func() (*config.Config, error)) { h.reread = read }

func (h *App) reloadAgain() error {
	if h.reread == nil {
		return errors.New("this gateway has no configuration to read again")
	}
	cfg, err := h.reread()
	if err == nil {
		err = h.Reload(cfg)
	}
	if err != nil {
		h.out.Log.Error("reload: the old settings stay in force", "error", err)
		return err
	}
	h.out.Log.Info("reloaded")
	return nil
}

// Listen opens the doors and begins to work. It returns once every door listens.
func (h *App) Listen(ctx context.Context) error {
	if err := h.certify(ctx); err != nil {
		return err
	}
	for _, d := range h.cfg.Doors {
		opened, err := h.openDoor(d)
		if err != nil {
			if strings.HasPrefix(err.Error(), "door ") { // the error names it
				return err
			}
			return fmt.Errorf("door %s: %w", d.Name, err)
		}
		h.doors = append(h.doors, opened)
	}
	h.verbs = h.newAPI()
	if err := h.openWeb(); err != nil {
		return err
	}
	if err := h.openControl(); err != nil {
		return err
	}
	ctx, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	// the hops' extensions must be known before the first client's EHLO; a hop that is down is asked again later
	soon, cancel := context.WithTimeout(ctx, 3*time.Second)
	h.Relay.Probe(soon)
	cancel()
	for _, d := range h.doors {
		h.running.Go(d.listener.Run)
	}
	h.running.Go(func() { h.every(ctx, time.Minute, h.Relay.Probe) })
	h.running.Go(func() { h.every(ctx, time.Hour, h.expire) })
	h.running.Go(func() { h.every(ctx, watchEvery, h.watch) })
	if !h.out.Unwatched {
		h.running.Go(func() { h.every(ctx, health.Tick, h.table.Look) })
	}
	h.running.Go(func() { h.every(ctx, 10*time.Second, h.unmute) })
	h.running.Go(func() { h.every(ctx, listsLook, h.watchLists) })
	h.running.Go(func() { h.every(ctx, rulesLook, h.watchRules) })
	h.running.Go(func() { h.every(ctx, costsKept, h.keepRuleCosts) })
	if h.masking != nil {
		h.running.Go(func() { h.masking.run(ctx) })
	}
	h.runDigests(ctx)
	if h.cfg.Probe.To != "" {
		h.running.Go(func() { h.every(ctx, time.Duration(h.cfg.Probe.Every), h.runProbe) })
	}
	if h.reports != nil {
		h.running.Go(func() { h.every(ctx, 10*time.Minute, h.report) })
	}
	h.ready.Store(true)
	return nil
}

func (h *App) every(ctx context.Context, pause time.Duration, work func(context.Context)) {
	t := time.NewTicker(pause)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			work(ctx)
		}
	}
}

// expire deletes records past their retention time.
func (h *App) expire(ctx context.Context) {
	now := h.out.Now()
	if _, err := h.Ledger.Expire(ctx, now.Add(-time.Duration(h.cfg.Ledger.Keep))); err != nil {
		h.out.Log.Error("ledger expiry", "error", err)
	}
	if _, err := h.Quarantine.Expire(ctx, now.Add(-time.Duration(h.cfg.Quarantine.Keep))); err != nil {
		h.out.Log.Error("quarantine expiry", "error", err)
	}
	h.expireLessons(ctx, now)
	h.expireLists(ctx)
}

// report writes the counts and sends the reports of past days.
func (h *App) report(ctx context.Context) {
	if err := h.reports.reporter.Send(ctx); err != nil {
		h.out.Log.Error("aggregate reports", "error", err)
	}
}

// Close gives work under way some time to finish, then ends everything.
func (h *App) Close() { h.closing.Do(h.close) }

func (h *App) close() {
	h.ready.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	var doors sync.WaitGroup
	for _, d := range h.doors {
		doors.Go(func() {
			d.close(ctx)
			h.out.Log.Info("door closed", "door", d.name, "accepted", d.accepted())
		})
	}
	doors.Wait()
	for _, w := range h.webs {
		_ = w.server.Close() // pages that are being loaded are cut off
	}
	if h.control != nil {
		_ = h.control.server.Close()
	}
	h.stop()
	h.running.Wait()

	var err error
	for _, closing := range slices.Backward(h.closers) {
		err = errors.Join(err, closing(ctx))
	}
	if err != nil {
		h.out.Log.Error("close", "error", err)
	}
}

// Address is where a door listens.
type Address struct{ Name, Address string }

// Addresses are those of all doors.
func (h *App) Addresses() []Address {
	var all []Address
	for _, d := range h.doors {
		all = append(all, Address{d.name, d.listener.Addr().String()})
	}
	return all
}
