#include "sherd/base/log.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <string>

using namespace sherd;

namespace {

// What `body` writes to stderr.
template <class Body>
std::string said(Body body) {
  const int file = memfd_create("stderr", 0), before = dup(STDERR_FILENO);
  std::fflush(stderr);
  dup2(file, STDERR_FILENO);
  body();
  std::fflush(stderr);
  dup2(before, STDERR_FILENO);
  std::string text(static_cast<std::size_t>(lseek(file, 0, SEEK_END)), '\0');
  CHECK(pread(file, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  close(file);
  close(before);
  return text;
}

}  // namespace

TEST_CASE("Lines go to stderr with the name of the program") {
  CHECK(said([] { log::info("ready"); }) == "sherd: ready\n");
}

TEST_CASE("Braces and percent signs in a message are no formats") {
  CHECK(said([] { log::warn("{} %s {0}"); }) == "sherd: {} %s {0}\n");
}

TEST_CASE("A prefix names the rank on every later line") {
  log::set_prefix("rank 3");
  CHECK(said([] { log::error("lost"); }) == "sherd: rank 3: lost\n");
  log::set_prefix("100%v");
  CHECK(said([] { log::error("lost"); }) == "sherd: 100%v: lost\n");
  log::set_prefix("");
  CHECK(said([] { log::error("lost"); }) == "sherd: lost\n");
}

TEST_CASE("A quiet log keeps warnings and errors") {
  log::set_quiet(true);
  CHECK(said([] { log::info("progress"); }).empty());
  CHECK(said([] { log::warn("slow"); }) == "sherd: slow\n");
  log::set_quiet(false);
  CHECK(said([] { log::info("progress"); }) == "sherd: progress\n");
}
