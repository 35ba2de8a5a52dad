#include "comm/rendezvous.hpp"

#include <sched.h>

#include <cstdio>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::comm {
namespace {

using std::chrono::nanoseconds;
using Clock = std::chrono::steady_clock;

constexpr nanoseconds slice = std::chrono::milliseconds(20);

// A wait that counts only time in which this process ran: a machine that was paused condemns
// nobody.
class Patience {
 public:
  explicit Patience(nanoseconds limit) : left_(limit), seen_(Clock::now()) {}
  bool exhausted() {
    const auto now = Clock::now();
    const nanoseconds gap = now - std::exchange(seen_, now);
    left_ -= gap > std::chrono::seconds(1) ? slice : gap;
    return left_ < nanoseconds::zero();
  }

 private:
  nanoseconds left_;
  Clock::time_point seen_;
};

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

std::string seconds_text(nanoseconds time) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g s", std::chrono::duration<double>(time).count());
  return text.data();
}

}  // namespace

Rendezvous::Rendezvous(Group group)
    : group_(std::move(group)), spin_(spin_for(group_.control->world)) {}

void Rendezvous::arrive(const Call& call) {
  group_.control->abort.poll();
  MemberRecord& own = group_.member(group_.self);
  write_call(own, call);
  own.sequence.fetch_add(1, std::memory_order_relaxed);
  RankRecord& rank = group_.control->ranks[static_cast<std::size_t>(group_.run_rank(group_.self))];
  rank.member.store(group_.record_of(group_.self) + 1, std::memory_order_relaxed);
  meet(At::start);
  for (Rank peer = 0; peer < group_.size(); ++peer) {
    if (same_call(group_.member(peer), own)) continue;
    fail("rank " + std::to_string(group_.run_rank(peer)) + " issued " +
         full_call(group_.member(peer)) + ", rank " + std::to_string(group_.run_rank(group_.self)) +
         " issued " + full_call(own) + " at collective " + std::to_string(own.sequence.load()) +
         ": the ranks are out of step");
  }
}

void Rendezvous::pass() { meet(At::middle); }

void Rendezvous::leave() {
  meet(At::middle);
  group_.member(group_.self).completed.fetch_add(1, std::memory_order_relaxed);
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

std::string Rendezvous::lateness(Rank first, std::uint32_t point, At at) const {
  const auto name = [&](Rank rank) { return std::to_string(group_.run_rank(rank)); };
  std::string late = name(first);
  for (Rank peer = 0; peer < group_.size(); ++peer) {
    if (peer != first && !reached(group_.member(peer), point)) late += ", " + name(peer);
  }
  const Rank self = group_.run_rank(group_.self);
  const std::int64_t step =
      group_.control->ranks[static_cast<std::size_t>(self)].step.load(std::memory_order_relaxed);
  return "rank " + late + (at == At::start ? " did not reach " : " did not finish ") +
         group_.control->call_text(group_.record_of(group_.self), step) + " within " +
         seconds_text(group_.timeout) + ": rank " + name(first) + " was last seen " +
         group_.control->whereabouts(group_.run_rank(first));
}

}  // namespace sherd::comm
