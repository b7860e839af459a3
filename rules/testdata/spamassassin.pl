#!/usr/bin/perl
# Reads names of messages, one a line, and prints for each a JSON object of what SpamAssassin finds, without the network and
# without its classifier. The first line has all rules: kind, four scores, flags.
use strict;
use warnings;
use Getopt::Long;
use JSON::PP;
use Mail::SpamAssassin;
use Mail::SpamAssassin::PerMsgStatus;

my ($rules, $site, $views) = ('/usr/share/spamassassin', '/etc/spamassassin');
GetOptions('rules=s' => \$rules, 'site=s' => \$site, 'views' => \$views) or die;
my $json = JSON::PP->new->ascii->canonical;
my $sa   = Mail::SpamAssassin->new({
    local_tests_only => 1, dont_copy_prefs => 1, userprefs_filename => '/dev/null',
    rules_filename => $rules, site_rules_filename => $site, home_dir_for_helpers => ($ENV{TMPDIR} || '/tmp'),
    post_config_text => "use_bayes 0\nuse_auto_welcomelist 0\nbayes_auto_learn 0\n",
});
$sa->init(1);
my $conf = $sa->{conf};
my %all  = map {
    my $n = $_;
    $n => [$conf->{test_types}{$n}, (map { $conf->{scoreset}[$_]{$n} } 0 .. 3), $conf->{tflags}{$n} // '']
} keys %{$conf->{test_types}};
print $json->encode({rules => \%all}), "\n";

while (my $file = <STDIN>) {
    chomp $file;
    open(my $in, '<:raw', $file) or next;
    my $raw = do { local $/; <$in> };
    my @before = times;
    my $message = $sa->parse($raw, 1);
    my $status  = Mail::SpamAssassin::PerMsgStatus->new($sa, $message);
    $status->check();
    my @after = times;
    my $hits  = $status->{tests_already_hit};
    print $json->encode({
        file => $file, score => $status->{score} + 0, cpu => $after[0] + $after[1] - $before[0] - $before[1],
        hits => {map { $_ => $hits->{$_} + 0 } grep { $hits->{$_} } keys %$hits},
    }), "\n";
    $status->finish();
    $message->finish();
}
