#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "io/engines.hpp"
#include "io/faulty_system.hpp"
#include "io/file_system.hpp"
#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/io/record_file.hpp"

namespace sherd::io {
namespace {

using test::contains;
using test::FaultySystem;
using test::message_of;

FileTierConfig in(const test::TempFolder& folder) { return {.offload_dir = folder.path()}; }

/// Runs `body` in a child and returns its status.
template <class Body>
int in_child(Body&& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

template <class Error>
std::string make_problem(const FileTierConfig& config, Bytes size, SystemCalls& system) {
  return message_of<Error>([&] { (void)make_record_file(config, 2, size, system); });
}

TEST_CASE("A file has no name while it is used, and its room is taken at once") {
  const test::TempFolder folder;
  const OffloadFolder held(in(folder));
  const Bytes before = held.free();
  const auto file = make_record_file(in(folder), 0, 64 * mib);
  std::error_code ignored;
  int names = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path(), ignored)) {
    CHECK(entry.path().filename() == ".sherd-lock");
    ++names;
  }
  CHECK(names == 1);
  CHECK(before > 0);
}

TEST_CASE("Where there are no unnamed files a name is made and removed at once") {
  const test::TempFolder folder;
  for (const int error : {EOPNOTSUPP, EISDIR, EINVAL}) {
    FaultySystem system;
    system.unnamed = -error;
    const auto file = make_record_file(in(folder), 0, mib, system);
    CHECK(std::filesystem::is_empty(folder.path()));
  }
}

TEST_CASE("A folder that cannot take files is an error of the device that names the rank") {
  const test::TempFolder folder;
  FaultySystem system;
  system.unnamed = -EIO;
  const std::string said = make_problem<DeviceError>(in(folder), mib, system);
  CHECK(contains(said, folder.path() + " (file of rank 2): cannot be made (Input/output error)"));
}

TEST_CASE("A file larger than what is free is refused with need and room") {
  const test::TempFolder folder;
  FaultySystem system;
  system.free = 5 * mib;
  const std::string said = make_problem<CapacityError>(in(folder), 8 * mib, system);
  CHECK(contains(said, "needs 8.00 MiB (8388608 bytes), but 5.00 MiB (5242880 bytes) are free"));
  const Bytes more = Bytes{1} << 60;
  CHECK(contains(make_problem<CapacityError>(in(folder), more, system_calls()), "are free in"));
}

TEST_CASE("A cause with the longest of folders has room for what went wrong") {
  const test::TempFolder folder;
  const std::string deep = folder.path() + "/" + std::string(200, 'a') + "/" +
                           std::string(200, 'b') + "/" + std::string(200, 'c') + "/end";
  std::filesystem::create_directories(deep);
  FileTierConfig config = in(folder);
  config.offload_dir = deep;
  FaultySystem system;
  system.free = 0;
  const std::string said = make_problem<CapacityError>(config, mib, system);
  CHECK(said.size() < 400);  // an abort word holds 504
  CHECK(contains(said, "/end (file of rank 2) needs 1.00 MiB"));
  CHECK(contains(said, "No space left on device"));
}

TEST_CASE("A disk that fills while room is taken is refused the same way") {
  const test::TempFolder folder;
  for (const int error : {ENOSPC, EDQUOT, EFBIG}) {
    FaultySystem system;
    system.reserved = -error;
    CHECK(contains(make_problem<CapacityError>(in(folder), mib, system), "needs 1.00 MiB"));
  }
  FaultySystem system;
  system.reserved = -EIO;
  CHECK(contains(make_problem<DeviceError>(in(folder), mib, system), "cannot take its room"));
}

TEST_CASE("A limit of the system on files is refused by its own answer") {
  const test::TempFolder folder;
  const int status = in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{mib, mib};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string said = make_problem<CapacityError>(in(folder), 2 * mib, system_calls());
    ::_exit(contains(said, "File too large") ? 7 : 1);
  });
  CHECK(WEXITSTATUS(status) == 7);
}

TEST_CASE("An io_uring that is refused is an error where it is asked for, else threads serve") {
  const test::TempFolder folder;
  FaultySystem system;
  system.uring = -EPERM;
  FileTierConfig config = in(folder);
  const std::string name = make_record_file(config, 0, mib, system)->engine();
  CHECK(contains(name, "2 threads"));
  CHECK(contains(name, "(io_uring: "));
  config.io_engine = IoEngine::uring;
  const std::string said = make_problem<ConfigError>(config, mib, system);
  CHECK(contains(said, "--io-engine: io_uring is refused ("));
}

TEST_CASE("A killed process leaves nothing but a lock that the next run takes over") {
  const test::TempFolder folder;
  const int status = in_child([&] {
    const OffloadFolder held(in(folder));
    const auto file = make_record_file(in(folder), 0, mib);
    ::raise(SIGKILL);
  });
  REQUIRE(WTERMSIG(status) == SIGKILL);
  folder.write(".sherd-record-1-0-1", "made by a run that was killed between two calls");
  { const OffloadFolder next(in(folder)); }
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("A second run in a folder is refused with the pid of the first, until that ends") {
  const test::TempFolder folder;
  {
    OffloadFolder first(in(folder));
    const std::string said = message_of<ConfigError>([&] { OffloadFolder{in(folder)}; });
    CHECK(contains(said, "is in use by a run (pid " + std::to_string(::getpid()) + ")"));
    const OffloadFolder moved(std::move(first));
    CHECK(!message_of<ConfigError>([&] { OffloadFolder{in(folder)}; }).empty());
  }
  const OffloadFolder next(in(folder));
  CHECK(next.free() > 0);
}

TEST_CASE("Folders that are missing, none, or cannot be written are refused by name") {
  const test::TempFolder folder;
  const auto problem = [](const std::string& path) {
    return message_of<ConfigError>(
        [&] { OffloadFolder{{.offload_dir = path, .offload_dir_any = true}}; });
  };
  CHECK(contains(problem(""), "--offload-dir: got nothing"));
  CHECK(contains(problem(folder.path() + "/none"), "cannot be used (No such file"));
  CHECK(contains(problem(folder.write("file", "x")), "is no folder"));
  CHECK(contains(problem("/proc"), "/proc cannot be written ("));
}

TEST_CASE("A memory file system is refused by name unless any is allowed") {
  if (::access("/dev/shm", W_OK) != 0) {
    MESSAGE("SKIP: there is no /dev/shm to write to");
    return;
  }
  const test::TempFolder tmpfs("/dev/shm");
  const std::string said = message_of<ConfigError>([&] { OffloadFolder{in(tmpfs)}; });
  CHECK(contains(said, tmpfs.path() + " is on tmpfs, which is memory"));
  CHECK(contains(said, "--offload-dir-any"));
  FileTierConfig any = in(tmpfs);
  any.offload_dir_any = true;
  const OffloadFolder held(any);
  CHECK(make_record_file(any, 0, mib) != nullptr);
}

TEST_CASE("Network file systems and an overlay without direct transfers are refused") {
  const test::TempFolder folder;
  const auto problem = [&](std::int64_t magic, bool direct = true) {
    FaultySystem system;
    system.magic = magic;
    if (!direct) system.bypass = -EINVAL;
    return unfit_file_system(folder.path(), system);
  };
  CHECK(contains(problem(0x6969), "is on nfs, which is a network's"));
  CHECK(contains(problem(0xff534d42), "is on cifs"));
  CHECK(contains(problem(static_cast<std::int32_t>(0xff534d42)), "is on cifs"));
  CHECK(contains(problem(0x65735546), "is on fuse"));
  CHECK(contains(problem(0x01021997), "is on 9p"));
  CHECK(contains(problem(0x794c7630, false), "is on overlay"));
  CHECK(problem(0x794c7630) == "");
  CHECK(problem(0xef53) == "");
}

}  // namespace
}  // namespace sherd::io
