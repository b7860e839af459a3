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
	"postern/policy/records/tally"
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
	tally      *tally.Tally // what goes into the ledger, counted
	Quarantine *quarantine.Quarantine
	Queue      *queue.Queue
	Relay      *relay.Relay
	Recalls    *recall.List
	Versions   *replay.Versions
	Breaker    *breaker.Breaker
	Lessons    *lessons.Journal // nil if learning is off
	Lists      *lists.Store
	Learning   *Learning // nil if the classifier is off
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
	webs         []*webServer
	control      *webServer // nil before Listen
	bans         *listen.Bans
	recipients   *recipients.Recipients
	checkers     map[string]*access.Checker                    // login checkers of submission doors with auth = "imap", by name
	gate         *access.Gate                                  // nil without a POP3 or IMAP door
	verdicts     *retrieval.VerdictCache                       // the same
	letIn        func(id string, sum [sha256.Size]byte) []byte // the same
	teacher      *retrieval.Teacher                            // nil if learning is off
	folders      *learnFolders                                 // nil if there are none
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
		h.makeFolders, h.openMemory, h.openVersions, h.openLists, h.openDirectory, h.openClassifier, h.openPipeline, h.openStores, h.openReports,
		h.openGateway, h.openActs, h.openAccess, h.openQuarantineVerbs, h.openReportAddresses, h.openFolders,
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
func (a *App) later(closing func(context.Context) error) { a.closers = append(a.closers, closing) }

// laterPlain is later for closers that need no context.
func (a *App) laterPlain(closing func() error) {
	a.later(func(context.Context) error { return closing() })
}

func (a *App) openMemory() (err error) {
	if a.out.State, err = openState(a.cfg, a.out); err != nil {
		return err
	}
	a.laterPlain(a.out.State.Close)
	a.bans = newBans(a.cfg, a.out)
	c := a.cfg.PolicyBreaker
	a.Breaker = breaker.New(breaker.Options{Never: c.Never, Proof: a.proofToMute, Convictions: c.Convictions, For: time.Duration(c.Mute), Now: a.out.Now})

	return nil
}

func (a *App) openVersions() (err error) {
	if a.Versions, err = replay.OpenVersions(PolicyStore(a.cfg)); err != nil {
		return err
	}
	a.laterPlain(a.Versions.Close)

	return nil
}

func (a *App) openPipeline() error {
	pipeline, err := NewPipeline(a.cfg, a.out)
	if err != nil {
		return err
	}
	a.pipeline.Store(pipeline)
	a.sayLeftOut(pipeline)
	a.sayBadLines(pipeline, nil)
	a.ruleFiles, a.rulesSettled = lookAtRules(pipeline), true

	return nil
}

func (a *App) openReports() (err error) {
	if a.reports, err = openReports(a.cfg, a.out, a.pipeline.Load().DNS, a.Queue); err != nil || a.reports == nil {
		return err
	}
	a.later(a.reports.reporter.Store.Close)

	return nil
}

// openGateway makes the gateway that processes messages.
func (a *App) openGateway() error {
	cfg := a.cfg
	signer, err := newSigner(cfg, a.out)
	if err != nil {
		return err
	}
	a.Gateway = &proxy.Gateway{
		Hostname: cfg.Hostname, HeaderName: cfg.SMTP.HeaderName, SubjectTag: cfg.SMTP.SubjectTag, Strip: cfg.SMTP.StripHeaders,
		Relay: a.Relay, Queue: a.Queue, Quarantine: a.Quarantine, Ledger: tally.Ledger{Ledger: a.Ledger, Tally: a.tally}, Log: a.out.Log, Now: a.out.Now,
		Heavy: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)), JudgeTimeout: judgeTimeout, DeliverTimeout: deliverTimeout,
		KeepRejected: time.Duration(cfg.Quarantine.HoldRejected), SealDomain: cfg.ARC.Domain, SealAll: cfg.ARC.Seal == "all",
	}
	a.hearVerdicts()
	if signer != nil {
		a.Gateway.Signer, a.Gateway.Sealer = signer, signer
	}
	if a.reports != nil {
		a.Gateway.Witness = a.reports
	}

	if a.recipients, a.asked, err = newRecipients(cfg, a.out); err != nil {
		return err
	}
	a.laterPlain(a.recipients.Close)
	a.Gateway.Use(a.setup(cfg, a.pipeline.Load()))

	return nil
}

// openActs opens the tokens and the audit log.
func (a *App) openActs() (err error) {
	if a.acts, err = api.OpenStore(AdminStore(a.cfg), a.out.Log); err != nil {
		return err
	}
	a.laterPlain(a.acts.Close)

	return nil
}

func (a *App) makeFolders() error {
	for _, dir := range []string{a.cfg.DataDir, a.dir("spool"), a.dir("queue"), a.dir("quarantine"), a.dir("tls")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("data_dir: %w: make it, or name another one with data_dir", err)
		}
	}
	return nil
}

// finishReleases queues messages that were claimed for release when the program last crashed. Those that fail stay
// claimed until the next start, and delay no other mail.
func (a *App) finishReleases() error {
	ctx := context.Background()
	releases, err := a.Quarantine.Unfinished(ctx)
	for _, r := range releases {
		failed := a.Releaser().Finish(ctx, r, func(item proxy.QueueItem, c mail.Copy) error { return a.Queue.Put(ctx, item, c) })
		if failed != nil {
			a.out.Log.Error("a release that was cut short can't be finished", "id", r.Item, "error", failed)
		}
	}
	return err
}

func (a *App) dir(name string) string { return filepath.Join(a.cfg.DataDir, name) }

// setup makes the settings that a reload replaces.
func (a *App) setup(cfg *config.Config, j *Pipeline) *proxy.Setup {
	s := &proxy.Setup{Chain: j.Chain, Policy: j.Policy, Fetched: j.Fetched, Epoch: j.Epoch, QueueWhenDown: map[mail.Route]bool{}, Postmaster: postmaster(cfg), Recipients: a.recipients}
	s.Route = func(domain string) (mail.Route, bool) {
		if !cfg.Local(domain) {
			return mail.Route{}, false
		}
		return cfg.Route(domain), true
	}
	s.Transparent, s.FromClient = map[string]bool{}, map[string]bool{}
	for _, d := range a.cfg.Doors { // they change with a restart only
		s.Transparent[d.Name], s.FromClient[d.Name] = d.Transparent, d.FromClient
	}
	for name, hop := range cfg.NextHops {
		s.QueueWhenDown[mail.RouteTo(name)] = hop.WhenDown == "queue"
	}
	if a.groups != nil {
		s.Groups = a.groups.of
	}
	if err := a.try(context.Background(), cfg, s, j); err != nil {
		a.out.Log.Error("no policy is tried", "error", err)
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
func (a *App) Reload(cfg *config.Config) error {
	a.changing.Lock()
	defer a.changing.Unlock()

	return a.change(cfg)
}

// change does what Reload does; the caller holds changing.
func (a *App) change(cfg *config.Config) error {
	out := a.out
	out.Muted = a.mutedSymbols()
	out.compiled = a.pipeline.Load().rules
	j, err := NewPipeline(cfg, out)
	if err != nil {
		return err
	}
	if err := a.certificates.Reload(); err != nil {
		return err
	}
	if err := a.watchDependencies(j); err != nil {
		return err
	}
	a.pipeline.Store(j)
	a.Gateway.Use(a.setup(cfg, j))
	if names := a.cfg.NeedRestart(cfg); len(names) > 0 {
		a.out.Log.Warn("these sections have changed and need a restart, until then the old settings hold", "sections", strings.Join(names, ", "))
	}
	return nil
}

// Reloader sets how the configuration is read again when the command line asks for it. It is set before Listen.
func (a *App) Reloader(read func() (*config.Config, error)) { a.reread = read }

func (a *App) reloadAgain() error {
	if a.reread == nil {
		return errors.New("this gateway has no configuration to read again")
	}
	cfg, err := a.reread()
	if err == nil {
		err = a.Reload(cfg)
	}
	if err != nil {
		a.out.Log.Error("reload: the old settings stay in force", "error", err)
		return err
	}
	a.out.Log.Info("reloaded")
	return nil
}

// Listen opens the doors and begins to work. It returns once every door listens.
func (a *App) Listen(ctx context.Context) error {
	if err := a.certify(ctx); err != nil {
		return err
	}
	for _, d := range a.cfg.Doors {
		opened, err := a.openDoor(d)
		if err != nil {
			if strings.HasPrefix(err.Error(), "door ") { // the error names it
				return err
			}
			return fmt.Errorf("door %s: %w", d.Name, err)
		}
		a.doors = append(a.doors, opened)
	}
	a.verbs = a.newAPI()
	if err := a.openWeb(); err != nil {
		return err
	}
	if err := a.openControl(); err != nil {
		return err
	}
	ctx, a.stop = context.WithCancel(context.WithoutCancel(ctx))
	// the hops' extensions must be known before the first client's EHLO; a hop that is down is asked again later
	soon, cancel := context.WithTimeout(ctx, 3*time.Second)
	a.Relay.Probe(soon)
	cancel()
	for _, d := range a.doors {
		a.running.Go(d.listener.Run)
	}
	a.running.Go(func() { a.countEarlier(ctx, a.out.Now()) })
	a.running.Go(func() { a.every(ctx, time.Minute, a.Relay.Probe) })
	a.running.Go(func() { a.every(ctx, time.Hour, a.expire) })
	a.running.Go(func() { a.every(ctx, watchEvery, a.watch) })
	if !a.out.Unwatched {
		a.running.Go(func() { a.every(ctx, health.Tick, a.table.Look) })
	}
	a.running.Go(func() { a.every(ctx, 10*time.Second, a.unmute) })
	a.running.Go(func() { a.every(ctx, listsLook, a.watchLists) })
	a.running.Go(func() { a.every(ctx, rulesLook, a.watchRules) })
	a.running.Go(func() { a.every(ctx, costsKept, a.keepRuleCosts) })
	if a.Learning != nil {
		a.running.Go(func() { a.every(ctx, lessonsLook, a.catchUp) })
		a.running.Go(func() { a.every(ctx, snapshotEvery, a.snapshotClassifier) })
	}
	a.folders.run(ctx, a.running.Go)
	if a.masking != nil {
		a.running.Go(func() { a.masking.run(ctx) })
	}
	a.runDigests(ctx)
	if a.cfg.Probe.To != "" {
		a.running.Go(func() { a.every(ctx, time.Duration(a.cfg.Probe.Every), a.runProbe) })
	}
	if a.reports != nil {
		a.running.Go(func() { a.every(ctx, 10*time.Minute, a.report) })
	}
	a.ready.Store(true)
	return nil
}

func (a *App) every(ctx context.Context, pause time.Duration, work func(context.Context)) {
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
func (a *App) expire(ctx context.Context) {
	now := a.out.Now()
	if _, err := a.Ledger.Expire(ctx, now.Add(-time.Duration(a.cfg.Ledger.Keep))); err != nil {
		a.out.Log.Error("ledger expiry", "error", err)
	}
	if _, err := a.Quarantine.Expire(ctx, now.Add(-time.Duration(a.cfg.Quarantine.Keep))); err != nil {
		a.out.Log.Error("quarantine expiry", "error", err)
	}
	a.expireLessons(ctx, now)
	a.expireLists(ctx)
}

// report writes the counts and sends the reports of past days.
func (a *App) report(ctx context.Context) {
	if err := a.reports.reporter.Send(ctx); err != nil {
		a.out.Log.Error("aggregate reports", "error", err)
	}
}

// Close gives work under way some time to finish, then ends everything.
func (a *App) Close() { a.closing.Do(a.close) }

func (a *App) close() {
	a.ready.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	var doors sync.WaitGroup
	for _, d := range a.doors {
		doors.Go(func() {
			d.close(ctx)
			a.out.Log.Info("door closed", "door", d.name, "accepted", d.accepted())
		})
	}
	doors.Wait()
	for _, w := range a.webs {
		_ = w.server.Close() // pages that are being loaded are cut off
	}
	if a.control != nil {
		_ = a.control.server.Close()
	}
	a.stop()
	a.running.Wait()

	var err error
	for _, closing := range slices.Backward(a.closers) {
		err = errors.Join(err, closing(ctx))
	}
	if err != nil {
		a.out.Log.Error("close", "error", err)
	}
}

// Address is where a door listens.
type Address struct{ Name, Address string }

// Addresses are those of all doors.
func (a *App) Addresses() []Address {
	var all []Address
	for _, d := range a.doors {
		all = append(all, Address{d.name, d.listener.Addr().String()})
	}
	return all
}
