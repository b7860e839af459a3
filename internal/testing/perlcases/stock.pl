# Lists every expression of the rules that are installed: kind, name, header, and the expression in hexadecimal.
use strict;
use warnings;
use Mail::SpamAssassin;
my $sa = Mail::SpamAssassin->new({
  local_tests_only => 1, dont_copy_prefs => 1, site_rules_filename => '/nonexistent',
  userprefs_filename => '/dev/null', post_config_text => "use_bayes 0\n",
});
$sa->init(0);
my $c = $sa->{conf};
my %kind;
for my $kind (qw(body rawbody uri full head)) {
  my $all = $c->{"${kind}_tests"};
  $kind{$_} = $kind for map { keys %{$all->{$_}} } keys %$all;
}
for my $name (sort keys %{$c->{test_qrs}}) {
  my $kind = $kind{$name} // 'other';
  my $header = $kind eq 'head' ? $c->{test_opt_header}{$name} // '' : '';
  print join("\t", $kind, $name, $header, unpack('H*', '' . $c->{test_qrs}{$name})), "\n";
}
