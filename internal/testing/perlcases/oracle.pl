# Reads expressions and texts, one a line, and says what Perl does with them. All fields are hexadecimal.
use strict;
use warnings;
no warnings 'regexp';
binmode STDIN;
binmode STDOUT;
$| = 0;
my $re;
while (my $line = <STDIN>) {
  chomp $line;
  my ($what, $a, $b) = split /\t/, $line, -1;
  if ($what eq 'P') {
    my ($flags, $expr) = (pack('H*', $a), pack('H*', $b));
    $re = undef;
    my $ok = eval {
      local $SIG{__WARN__} = sub { };
      if ($expr =~ /\\[QE]/) { # quoting is done where a literal is read, not where it is compiled
        my ($delim) = grep { index($expr, $_) < 0 } ("\x01", "\x02");
        $re = eval "no warnings; qr$delim$expr$delim${flags}aa";
        die $@ if $@;
      } else {
        my $all = "(?aa$flags)$expr"; # as SpamAssassin compiles its rules
        $re = qr/$all/;
      }
      1;
    };
    print $ok ? "ok\n" : "bad " . ($@ =~ s/\n/ /gr) . "\n";
  } elsif ($what eq 'T') {
    my $text = pack('H*', $a);
    my $from = $b eq '' ? 0 : $b;
    if (!defined $re) { print "-\n"; next; }
    pos($text) = $from;
    my $said = eval {
      local $SIG{ALRM} = sub { die "slow\n" };
      alarm 10;
      my $r = $text =~ /$re/g ? join(' ', map { ($-[$_] // -1) . ' ' . ($+[$_] // -1) } 0 .. $#-) : '-';
      alarm 0;
      $r;
    };
    alarm 0;
    print $said // 'slow', "\n";
  }
}
