#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#include "io/engines.hpp"
#include "io/request.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::io {
namespace {

class ThreadTransfer final : public Transfer {
 public:
  ThreadTransfer(OpenFile file, SystemCalls& system, const std::string& note)
      : file_(std::move(file)),
        system_(system),
        name_((file_.direct() ? "2 threads, direct" : "2 threads, buffered") + note),
        helper_([this] { serve(); }) {}
  ThreadTransfer(const ThreadTransfer&) = delete;
  ThreadTransfer& operator=(const ThreadTransfer&) = delete;
  ~ThreadTransfer() override {
    {
      const std::scoped_lock lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    helper_.join();
  }

  void read(Bytes offset, std::span<std::byte> into, Passing* passing) override {
    run(reading(offset, into, passing));
  }
  void write(Bytes offset, std::span<const std::byte> from, Passing* passing) override {
    run(writing(offset, from, passing));
  }
  [[nodiscard]] std::string name() const override { return name_; }

 private:
  void run(const Job& job) {
    job_ = job;
    next_ = passed_ = 0;
    failed_ = false;
    const bool shared = job.parts() > 1;
    if (shared) {
      const std::scoped_lock lock(mutex_);
      busy_ = true;
      changed_.notify_all();
    }
    drain();
    if (shared) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !busy_; });
    }
    if (failed_) throw_failure(failure_);
  }

  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return busy_ || stop_; });
      if (stop_) return;
      lock.unlock();
      drain();
      lock.lock();
      busy_ = false;
      changed_.notify_all();
    }
  }

  // Every part that is taken passes, also after a failure: the first of a write waits for them.
  void drain() {
    const std::size_t parts = job_.parts();
    for (std::size_t turn = next_++; turn < parts; turn = next_++) {
      const std::size_t part = job_.part_at(turn);
      if (job_.direction == Direction::write) {
        if (part == 0) wait_for_passed(parts - 1);
        job_.pass(part);
        ++passed_;
        passed_.notify_one();
      }
      if (failed_ || !move(request_of(job_, part))) return;
      if (job_.direction == Direction::read) job_.pass(part);
    }
  }

  void wait_for_passed(std::size_t count) const {
    for (std::size_t seen = passed_; seen < count; seen = passed_) passed_.wait(seen);
  }

  bool move(Request request) {
    for (;;) {
      const int answer = ask(request);
      switch (advance(request, answer)) {
        case Progress::done:
          return true;
        case Progress::again:
          continue;
        case Progress::failed:
          if (!failed_.exchange(true)) failure_ = failure_of(job_.direction, request, answer);
          return false;
      }
    }
  }

  int ask(const Request& request) const {
    const std::size_t bytes = system_.granted(job_.direction, request.offset, request.bytes);
    const auto at = static_cast<off_t>(request.offset);
    const ssize_t moved = job_.direction == Direction::read
                              ? ::pread(file_.descriptor(), request.data, bytes, at)
                              : ::pwrite(file_.descriptor(), request.data, bytes, at);
    return system_.answered(job_.direction, request.offset,
                            moved < 0 ? -errno : static_cast<int>(moved));
  }

  OpenFile file_;
  SystemCalls& system_;
  std::string name_;
  Job job_;
  std::atomic<std::size_t> next_{0}, passed_{0};
  std::atomic<bool> failed_{false};
  Failure failure_;  // of whoever failed first
  std::mutex mutex_;
  std::condition_variable changed_;
  bool busy_ = false;  // the helper has a job
  bool stop_ = false;
  std::thread helper_;
};

}  // namespace

std::unique_ptr<Transfer> thread_transfer(OpenFile file, SystemCalls& system,
                                          const std::string& note) {
  const std::string path = file.path();
  try {
    return std::make_unique<ThreadTransfer>(std::move(file), system, note);
  } catch (const std::system_error& error) {
    throw DeviceError(path + ": cannot start a thread (" + error.what() + ")");
  }
}

}  // namespace sherd::io
