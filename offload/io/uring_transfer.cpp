#include <liburing.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "io/engines.hpp"
#include "io/request.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::io {
namespace {

/// Owns a queue; `start` says 0 or why there is none.
class Ring {
 public:
  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() {
    if (started_) ::io_uring_queue_exit(&ring_);
  }
  [[nodiscard]] int start(SystemCalls& system) {
    const int refused = system.allow_uring();
    const int answer = refused != 0 ? refused : ::io_uring_queue_init(uring_depth, &ring_, 0);
    started_ = answer == 0;
    return answer;
  }
  /// Kernels before 5.6 have queues, but not these requests.
  [[nodiscard]] bool reads_and_writes() {
    io_uring_probe* probe = ::io_uring_get_probe_ring(&ring_);
    if (probe == nullptr) return false;
    const bool both = ::io_uring_opcode_supported(probe, IORING_OP_READ) != 0 &&
                      ::io_uring_opcode_supported(probe, IORING_OP_WRITE) != 0;
    ::io_uring_free_probe(probe);
    return both;
  }
  [[nodiscard]] io_uring* operator&() { return &ring_; }

 private:
  io_uring ring_{};
  bool started_ = false;
};

class UringTransfer final : public Transfer {
 public:
  UringTransfer(OpenFile file, std::unique_ptr<Ring> ring, SystemCalls& system)
      : file_(std::move(file)), ring_(std::move(ring)), system_(system) {}

  void read(Bytes offset, std::span<std::byte> into, Passing* passing) override {
    run(reading(offset, into, passing));
  }
  void write(Bytes offset, std::span<const std::byte> from, Passing* passing) override {
    run(writing(offset, from, passing));
  }
  [[nodiscard]] std::string name() const override {
    return file_.direct() ? "io_uring, direct" : "io_uring, buffered";
  }

 private:
  // All that is under way is waited for, also after a failure: the memory is the caller's again.
  // Free slots come first and parts pass while the system is busy.
  void run(const Job& job) {
    if (lost_) throw_failure(failure_);
    begin();
    for (;;) {
      while (!failed_ && free_count_ > 0 && turn_ < job.parts()) start(job);
      io_uring_cqe* done = nullptr;
      if (came_count_ < came_.size() && ::io_uring_peek_cqe(&*ring_, &done) == 0) {
        finish(job, done);
      } else if (came_count_ > 0) {
        job.pass(came_[--came_count_]);
      } else if (free_count_ == free_.size()) {
        break;
      } else if (!pass_ahead(job)) {
        enter(job, 1);
      }
    }
    if (failed_) throw_failure(failure_);
  }

  void begin() {
    turn_ = passed_ = came_count_ = 0;
    failed_ = false;
    for (std::size_t i = 0; i < free_.size(); ++i) free_[i] = static_cast<unsigned>(i);
    free_count_ = free_.size();
  }

  void start(const Job& job) {
    if (job.direction == Direction::write && passed_ == turn_) job.pass(job.part_at(passed_++));
    const unsigned slot = free_[--free_count_];
    slots_[slot] = request_of(job, job.part_at(turn_++));
    submit(job, slot);
    enter(job, 0);  // now, so that it moves while the next part passes
  }

  // Of a write, one of the parts that go next; false when there is none.
  bool pass_ahead(const Job& job) {
    const std::size_t end = std::min(job.parts(), turn_ + uring_depth);
    if (job.direction != Direction::write || failed_ || passed_ >= end) return false;
    job.pass(job.part_at(passed_++));
    return true;
  }

  void submit(const Job& job, unsigned slot) {
    const Request& request = slots_[slot];
    io_uring_sqe* entry = ::io_uring_get_sqe(&*ring_);  // there are as many as slots
    const auto bytes =
        static_cast<unsigned>(system_.granted(job.direction, request.offset, request.bytes));
    if (job.direction == Direction::read) {
      ::io_uring_prep_read(entry, file_.descriptor(), request.data, bytes, request.offset);
    } else {
      ::io_uring_prep_write(entry, file_.descriptor(), request.data, bytes, request.offset);
    }
    ::io_uring_sqe_set_data64(entry, slot);
  }

  // Returns with at least `completions` to look at, or fewer after a signal.
  void enter(const Job& job, unsigned completions) {
    for (int tries = 0; tries < 1000; ++tries) {
      const int answer = system_.entered(::io_uring_submit_and_wait(&*ring_, completions));
      if (answer >= 0) return;
      if (answer != -EINTR && answer != -EAGAIN && answer != -EBUSY) {
        lost_ = true;
        failure_ = {job.direction, job.offset, job.bytes, -answer};
        throw_failure(failure_);
      }
      if (::io_uring_cq_ready(&*ring_) > 0) return;
      ::sched_yield();
    }
    lost_ = true;
    failure_ = {job.direction, job.offset, job.bytes, EBUSY};
    throw_failure(failure_);
  }

  void finish(const Job& job, io_uring_cqe* done) {
    const auto slot = static_cast<unsigned>(::io_uring_cqe_get_data64(done));
    Request& request = slots_[slot];
    const int answer = system_.answered(job.direction, request.offset, done->res);
    ::io_uring_cqe_seen(&*ring_, done);
    const Progress progress = advance(request, answer);
    if (progress == Progress::again) {
      submit(job, slot);
      return;
    }
    free_[free_count_++] = slot;
    if (progress == Progress::failed) {
      failure_ = failure_of(job.direction, request, answer);
      failed_ = true;
    } else if (job.direction == Direction::read) {
      came_[came_count_++] = request.part;
    }
  }

  OpenFile file_;
  std::unique_ptr<Ring> ring_;
  SystemCalls& system_;
  std::array<Request, uring_depth> slots_;
  std::array<unsigned, uring_depth> free_{};
  std::size_t free_count_ = 0;
  std::size_t turn_ = 0, passed_ = 0;  // parts that were started; of a write, that have passed
  std::array<std::size_t, uring_depth> came_{};  // parts of a read that have not passed
  std::size_t came_count_ = 0;
  Failure failure_;
  bool failed_ = false;
  bool lost_ = false;  // the queue itself failed: what is under way is unknown
};

}  // namespace

std::unique_ptr<Transfer> uring_transfer(OpenFile& file, SystemCalls& system,
                                         std::string& refusal) {
  auto ring = std::make_unique<Ring>();
  if (const int answer = ring->start(system); answer != 0) {
    refusal = std::strerror(-answer);
    return nullptr;
  }
  if (!ring->reads_and_writes()) {
    refusal = "this kernel's has no reads and writes";
    return nullptr;
  }
  return std::make_unique<UringTransfer>(std::move(file), std::move(ring), system);
}

}  // namespace sherd::io
