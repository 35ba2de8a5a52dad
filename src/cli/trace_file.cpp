#include "cli/trace_file.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "sherd/base/errors.hpp"
#include "sherd/cli/event_log.hpp"
#include "sherd/io/write.hpp"

namespace sherd::cli {
namespace {

// "forward layer3.mlp", "gather layer3", "decide".
std::string name_of(const engine::TraceEvent& event, const plan::Setup& setup) {
  std::string verb(plan::name_of(event.verb));
  switch (event.verb) {
    case plan::Verb::forward:
    case plan::Verb::loss:
    case plan::Verb::backward:
      return verb + " " + setup.model.blocks[event.subject].name;
    case plan::Verb::gather:
    case plan::Verb::reduce:
    case plan::Verb::norm:
    case plan::Verb::update:
    case plan::Verb::widen:
      return verb + " " + setup.layout.buckets()[event.subject].name;
    default:
      return verb;
  }
}

double microseconds(std::chrono::nanoseconds time) {
  return static_cast<double>(time.count()) / 1e3;
}

// What is no file, such as a pipe, is written to; a link's file is replaced, not the link.
void write_out(const std::string& path, const std::string& text) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (!fs::exists(path, ignored) || fs::is_regular_file(path, ignored))
    return io::write_atomically(followed(path), std::as_bytes(std::span(text)));
  std::ofstream out(path, std::ios::binary);
  out << text << std::flush;
  if (!out) throw DataError("--trace: cannot write to '" + path + "'");
}

}  // namespace

void write_trace(const std::string& path, const engine::Trace& trace, const plan::Setup& setup) {
  std::string text = "{\"traceEvents\":[";
  for (int lane = 0; lane < device::lanes; ++lane) {
    text += fmt::format(
        "{}{{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":0,\"tid\":{},\"args\":{{\"name\":\"{}\"}"
        "}}}",
        lane == 0 ? "" : ",\n", lane, device::name_of(static_cast<device::Lane>(lane)));
  }
  for (const engine::TraceEvent& event : trace.events()) {
    text += fmt::format(
        ",\n{{\"ph\":\"X\",\"name\":\"{}\",\"cat\":\"{}\",\"pid\":0,\"tid\":{},\"ts\":{:.3f},"
        "\"dur\":{:.3f}}}",
        name_of(event, setup), event.program, static_cast<int>(event.lane),
        microseconds(event.start), microseconds(event.duration));
  }
  text += "]}\n";
  write_out(path, text);
}

}  // namespace sherd::cli
