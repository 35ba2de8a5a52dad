#include "comm/rendezvous.hpp"

#include <sched.h>

#include <utility>

#include "comm/patience.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::comm {
namespace {

using std::chrono::nanoseconds;
using Clock = std::chrono::steady_clock;

// Spinning helps only while every rank has a core to spin on.
nanoseconds spin_for(int world) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  const bool known = sched_getaffinity(0, sizeof(cores), &cores) == 0;
  const bool roomy = known && CPU_COUNT(&cores) >= world;
  return std::chrono::microseconds(roomy ? 20 : 1);
}

bool reached(const MemberRecord& record, std::uint32_t point) {
  return static_cast<std::int32_t>(record.progress.load(std::memory_order_acquire) - point) >= 0;
}

bool appears(const MemberRecord& record, std::uint32_t point, nanoseconds spin) {
  if (reached(record, point)) return true;
  const auto until = Clock::now() + spin;
  do {
    if (reached(record, point)) return true;
  } while (Clock::now() < until);
  return false;
}

}  // namespace

Rendezvous::Rendezvous(Group group)
    : group_(std::move(group)), spin_(spin_for(group_.control->world)) {}

void Rendezvous::write(const Call& call) {
  group_.control->abort.poll();
  MemberRecord& own = group_.member(group_.self);
  own.progress.fetch_add(1, std::memory_order_acquire);  // odd: being written
  write_call(own, call);
  own.sequence.fetch_add(1, std::memory_order_relaxed);
  RankRecord& rank = group_.control->ranks[static_cast<std::size_t>(group_.run_rank(group_.self))];
  rank.member.store(group_.record_of(group_.self) + 1, std::memory_order_relaxed);
}

void Rendezvous::arrive(const Call& call) {
  write(call);
  meet(At::start);
  const MemberRecord& own = group_.member(group_.self);
  for (Rank peer = 0; peer < group_.size(); ++peer) {
    if (!same_call(group_.member(peer), own)) fail(difference(peer));
  }
}

std::uint32_t Rendezvous::announce(const Call& call) {
  write(call);
  step();
  return group_.member(group_.self).sequence.load(std::memory_order_relaxed);
}

void Rendezvous::compare() {
  const MemberRecord& own = group_.member(group_.self);
  const std::uint32_t sequence = own.sequence.load(std::memory_order_relaxed);
  for (Rank peer = 0; peer < group_.size(); ++peer) {
    MemberRecord& record = group_.member(peer);
    const std::uint32_t seen = record.progress.load(std::memory_order_acquire);
    if (seen % 2 != 0 || record.sequence.load(std::memory_order_relaxed) != sequence) continue;
    if (same_call(record, own)) continue;
    const std::string text = difference(peer);
    // An addition, as a load could be carried out ahead of those it has to follow.
    if (record.progress.fetch_add(0, std::memory_order_acq_rel) == seen) fail(text);
  }
}

void Rendezvous::complete(std::uint32_t sequence) {
  group_.member(group_.self).completed.store(sequence, std::memory_order_relaxed);
}

std::string Rendezvous::difference(Rank peer) const {
  const MemberRecord& own = group_.member(group_.self);
  return "rank " + std::to_string(group_.run_rank(peer)) + " issued " +
         full_call(group_.member(peer)) + ", rank " + std::to_string(group_.run_rank(group_.self)) +
         " issued " + full_call(own) + " at collective " + std::to_string(own.sequence.load()) +
         ": the ranks are out of step";
}

void Rendezvous::pass() { meet(At::middle); }

void Rendezvous::leave() {
  meet(At::middle);
  group_.member(group_.self).completed.fetch_add(1, std::memory_order_relaxed);
  step();
}

// One more meeting point, at which nobody waits for anybody.
void Rendezvous::step() {
  MemberRecord& own = group_.member(group_.self);
  own.progress.fetch_add(1, std::memory_order_release);
  if (group_.size() > 1) futex_wake_all(own.progress);
}

std::vector<std::uint32_t> Rendezvous::exchange(const Call& call, std::uint32_t value) {
  group_.member(group_.self).shared.store(value, std::memory_order_relaxed);
  arrive(call);
  std::vector<std::uint32_t> values;
  for (Rank rank = 0; rank < group_.size(); ++rank) {
    values.push_back(group_.member(rank).shared.load(std::memory_order_relaxed));
  }
  leave();
  return values;
}

void Rendezvous::fail(std::string_view cause) {
  group_.control->fail(exit_code(CommError("")), cause);
  throw CommError(group_.control->cause(cause));
}

void Rendezvous::meet(At at) {
  MemberRecord& own = group_.member(group_.self);
  const std::uint32_t point = own.progress.load(std::memory_order_relaxed) + 1;
  own.progress.store(point, std::memory_order_release);
  if (group_.size() == 1) return;
  futex_wake_all(own.progress);
  Patience patience(group_.timeout);
  for (int step = 1; step < group_.size(); ++step) {
    const Rank peer = (group_.self + step) % group_.size();
    const MemberRecord& record = group_.member(peer);
    if (appears(record, point, spin_)) continue;
    for (;;) {
      const std::uint32_t seen = record.progress.load(std::memory_order_acquire);
      if (reached(record, point)) break;
      group_.control->abort.poll();
      if (patience.exhausted()) fail(lateness(peer, point, at));
      futex_wait(record.progress, seen, slice);
    }
  }
}

Group Rendezvous::split(int color) {
  const Call call{.label = {"split", 0}};
  const auto colors = exchange(call, static_cast<std::uint32_t>(color));
  constexpr std::uint32_t none = 0xffffffff;
  const auto size = static_cast<std::uint32_t>(group_.size());
  const bool first = group_.self == 0;
  const std::uint32_t mine = first ? group_.control->take_members(size).value_or(none) : 0;
  const std::uint32_t base = exchange(call, mine).front();
  expects(base != none, "split: got one group more than the control block holds, need fewer");
  Group child{.control = group_.control, .timeout = group_.timeout};
  for (Rank peer = 0; peer < group_.size(); ++peer) {
    if (colors[static_cast<std::size_t>(peer)] != static_cast<std::uint32_t>(color)) continue;
    if (peer == group_.self) child.self = child.size();
    child.ranks.push_back(group_.run_rank(peer));
    child.records.push_back(base + static_cast<std::uint32_t>(peer));
  }
  return child;
}

std::string Rendezvous::lateness(Rank first, std::uint32_t point, At at) const {
  std::vector<Rank> late{first};
  for (Rank peer = 0; peer < group_.size(); ++peer) {
    if (peer != first && !reached(group_.member(peer), point)) late.push_back(peer);
  }
  return absence(late, at == At::start ? " did not reach " : " did not finish ", own_call());
}

std::string Rendezvous::absence(const std::vector<Rank>& late, std::string_view verb,
                                const std::string& call) const {
  const auto name = [&](Rank rank) { return std::to_string(group_.run_rank(rank)); };
  std::string text = "rank " + name(late.front());
  for (std::size_t i = 1; i < late.size(); ++i) text += ", " + name(late[i]);
  return text.append(verb) + call + " within " + seconds_text(group_.timeout) + ": rank " +
         name(late.front()) + " was last seen " +
         group_.control->whereabouts(group_.run_rank(late.front()));
}

std::int64_t Rendezvous::own_step() const {
  const Rank self = group_.run_rank(group_.self);
  return group_.control->ranks[static_cast<std::size_t>(self)].step.load(std::memory_order_relaxed);
}

std::string Rendezvous::own_call() const {
  return group_.control->call_text(group_.record_of(group_.self), own_step());
}

std::string Rendezvous::overdue(const std::string& call, std::uint32_t sequence) const {
  std::vector<Rank> late;
  for (Rank peer = 0; peer < group_.size(); ++peer) {
    const std::uint32_t seen = group_.member(peer).sequence.load(std::memory_order_relaxed);
    if (static_cast<std::int32_t>(seen - sequence) < 0) late.push_back(peer);
  }
  if (!late.empty()) return absence(late, " did not reach ", call);
  return "rank " + std::to_string(group_.run_rank(group_.self)) + ": " + call +
         " did not complete within " + seconds_text(group_.timeout) +
         ", though every rank issued it";
}

}  // namespace sherd::comm
