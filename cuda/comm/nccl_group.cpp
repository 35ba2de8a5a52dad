#include "comm/nccl_group.hpp"

#include <algorithm>
#include <exception>
#include <thread>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::comm {
namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds parting = std::chrono::seconds(5);             // at most, for a group's end
constexpr nanoseconds explanation = std::chrono::milliseconds(250);  // for a lost peer's own words

}  // namespace

NcclGroup::NcclGroup(NcclRank rank, Group group, const std::function<void(NcclHandle&)>& join)
    : rank_(std::move(rank)),
      meet_(std::move(group)),
      handle_(rank_.library, [this] { idle(); }),
      patience_(nanoseconds::zero()),
      oldest_(nanoseconds::zero()),
      exceptions_(std::uncaught_exceptions()) {
  guarded([&] {
    enter("connect the ranks", timeout());
    join(handle_);
    handle_.enroll(rank_.arena);
  });
}

// What NCCL is about to do, and how long it may take.
void NcclGroup::enter(const char* stage, nanoseconds limit) {
  stage_ = stage;
  patience_ = Patience(limit);
}

std::string NcclGroup::in_call() const { return issued_ > 0 ? ", in " + meet_.own_call() : ""; }
std::string NcclGroup::in_oldest() const {
  return pending_.empty() ? in_call() : ", in " + pending_.front().call;
}

void NcclGroup::idle() {
  control().abort.poll();
  if (stage_ == nullptr) meet_.compare();
  if (!patience_.exhausted()) return;
  if (stage_ == nullptr) meet_.fail(meet_.overdue(meet_.own_call(), issued_));
  throw CommError(unconnected());
}

std::string NcclGroup::unconnected() const {
  std::string text = std::string("NCCL did not ") + stage_ + " within " + seconds_text(timeout());
  for (const Rank rank : meet_.group().ranks) {
    if (control().ranks[static_cast<std::size_t>(rank)].pid.load() != 0) continue;
    return text + ": rank " + std::to_string(rank) + " has not come";
  }
  return text;
}

// Whatever goes wrong ends NCCL's work on this rank and the run.
void NcclGroup::guarded(const Body& body, Where where) {
  try {
    body();
  } catch (const PeerLost& error) {
    const Patience::Clock::time_point until = Patience::Clock::now() + explanation;
    while (!control().abort.is_set() && Patience::Clock::now() < until) {
      futex_wait(control().abort.state, 0, std::chrono::milliseconds(5));
    }
    fail(error, where);
  } catch (const std::exception& error) {
    fail(error, where);
  }
}

void NcclGroup::fail(const std::exception& error, Where where) {
  const std::string text = "rank " + std::to_string(meet_.group().run_rank(meet_.group().self)) +
                           ": " + error.what() + (this->*where)();
  control().fail(exit_code(error), text);  // before peers notice what follows
  handle_.cut();
  pending_.clear();
  meet_.fail(text);
}

void NcclGroup::run(const Call& call, const Body& issue) {
  const std::lock_guard lock(mutex_);
  guarded([&] {
    issued_ = meet_.announce(call);
    enter(nullptr, timeout());
    if (rank_.stream->kind() == DeviceKind::cpu) {
      if (call.bytes > 0) issue();
      meet_.compare();
      return meet_.complete(issued_);
    }
    device::Ready begun = mark();
    if (call.bytes > 0) issue();
    note(std::move(begun));
  });
}

device::Ready NcclGroup::mark() {
  if (spare_.empty()) spare_.emplace_back(*rank_.stream->device());
  device::Ready here = std::move(spare_.back());
  spare_.pop_back();
  here.record(*rank_.stream);
  return here;
}

void NcclGroup::note(device::Ready begun) {
  retire();
  if (pending_.empty()) oldest_ = Patience(timeout());
  pending_.push_back({std::move(begun), mark(), issued_, meet_.own_call()});
}

void NcclGroup::retire() {
  while (!pending_.empty() && pending_.front().ready.reached()) {
    meet_.complete(pending_.front().sequence);
    spare_.push_back(std::move(pending_.front().begun));
    spare_.push_back(std::move(pending_.front().ready));
    pending_.pop_front();
    oldest_ = Patience(timeout());
  }
}

void NcclGroup::watch() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return control().abort.poll();  // the call in progress watches
  const auto look = [&] {
    control().abort.poll();
    retire();
    handle_.check();
    meet_.compare();
    if (pending_.empty()) return;
    const Pending& oldest = pending_.front();
    if (!oldest.begun.reached()) oldest_ = Patience(timeout());  // behind this rank's own work
    if (oldest_.exhausted()) meet_.fail(meet_.overdue(oldest.call, oldest.sequence));
  };
  guarded(look, &NcclGroup::in_oldest);
}

NcclGroup::~NcclGroup() {
  if (std::uncaught_exceptions() > exceptions_) return;  // this rank has failed: handle_ cuts
  try {
    part_in_order();
  } catch (const std::exception&) {
    handle_.cut();
  }
}

void NcclGroup::part_in_order() {
  enter("close the group", std::min(timeout(), parting));
  while (!pending_.empty()) {
    idle();
    std::this_thread::sleep_for(std::chrono::microseconds(50));
    retire();
  }
  control().abort.poll();
  handle_.finish();
}

void NcclGroup::barrier(const Label& label) {
  const std::lock_guard lock(mutex_);
  guarded([&] {
    control().abort.poll();
    handle_.check();  // what NCCL has found since nobody may look for any more
    meet_.arrive({.label = label});
    meet_.leave();
  });
}

std::unique_ptr<NcclGroup> NcclGroup::split(int color) {
  expects(color >= 0, "split: got color " + std::to_string(color) + ", need one from 0 up");
  const std::lock_guard lock(mutex_);
  std::unique_ptr<NcclGroup> child;
  std::string refusal;
  guarded([&] {
    Group group;
    try {
      group = meet_.split(color);
    } catch (const UsageError& error) {
      refusal = error.what();
      return;
    }
    enter("split the group", timeout());
    child = std::make_unique<NcclGroup>(rank_, std::move(group), [&](NcclHandle& part) {
      part.join(handle_, color, meet_.group().self);
    });
  });
  if (!refusal.empty()) throw_usage(refusal);
  return child;
}

}  // namespace sherd::comm
