/* What the comparison asks of rabbitmq-c, in the way of the library's examples. Everything blocks.
   Each call returns NULL, or what went wrong in words that last. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_tcp_socket.h>
#endif

/* Counted by malloc.c, where that is linked. */
atomic_uint_least64_t compare_allocations;

static const char *of_status(int status) {
  return status == AMQP_STATUS_OK ? NULL : amqp_error_string2(status);
}

static const char *of_reply(amqp_rpc_reply_t reply) {
  switch (reply.reply_type) {
    case AMQP_RESPONSE_NORMAL:
      return NULL;
    case AMQP_RESPONSE_LIBRARY_EXCEPTION:
      return amqp_error_string2(reply.library_error);
    default:
      return "the broker closed the channel or the connection";
  }
}

/* Takes the URL apart in its place. */
const char *compare_connect(char *url, amqp_connection_state_t *connection) {
  struct amqp_connection_info info;
  amqp_default_connection_info(&info);
  int status = amqp_parse_url(url, &info);
  if (status != AMQP_STATUS_OK) {
    return amqp_error_string2(status);
  }
  *connection = amqp_new_connection();
  amqp_socket_t *socket = amqp_tcp_socket_new(*connection);
  if (socket == NULL) {
    return "no memory for a socket";
  }
  status = amqp_socket_open(socket, info.host, info.port);
  if (status != AMQP_STATUS_OK) {
    return amqp_error_string2(status);
  }
  return of_reply(amqp_login(*connection, info.vhost, AMQP_DEFAULT_MAX_CHANNELS,
                             AMQP_DEFAULT_FRAME_SIZE, AMQP_DEFAULT_HEARTBEAT,
                             AMQP_SASL_METHOD_PLAIN, info.user, info.password));
}

const char *compare_open(amqp_connection_state_t connection, amqp_channel_t channel,
                         bool confirms) {
  amqp_channel_open(connection, channel);
  const char *error = of_reply(amqp_get_rpc_reply(connection));
  if (error != NULL || !confirms) {
    return error;
  }
  amqp_confirm_select(connection, channel);
  return of_reply(amqp_get_rpc_reply(connection));
}

const char *compare_publish(amqp_connection_state_t connection, amqp_channel_t channel,
                            amqp_bytes_t queue, amqp_bytes_t body) {
  amqp_basic_properties_t properties = {
      ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG,
      .delivery_mode = AMQP_DELIVERY_PERSISTENT,
  };
  return of_status(amqp_basic_publish(connection, channel, amqp_empty_bytes, queue, false, false,
                                      &properties, body));
}

/* Waits for the next confirm. */
const char *compare_confirm(amqp_connection_state_t connection, amqp_channel_t channel,
                            uint64_t *tag, bool *multiple) {
  amqp_maybe_release_buffers_on_channel(connection, channel);
  amqp_frame_t frame;
  int status = amqp_simple_wait_frame(connection, &frame);
  if (status != AMQP_STATUS_OK) {
    return amqp_error_string2(status);
  }
  if (frame.channel != channel || frame.frame_type != AMQP_FRAME_METHOD ||
      frame.payload.method.id != AMQP_BASIC_ACK_METHOD) {
    return "something else than a confirm came";
  }
  const amqp_basic_ack_t *ack = frame.payload.method.decoded;
  *tag = ack->delivery_tag;
  *multiple = ack->multiple;
  return NULL;
}

/* A prefetch of -1 is a consumer without acknowledgements. */
const char *compare_consume(amqp_connection_state_t connection, amqp_channel_t channel,
                            amqp_bytes_t queue, int32_t prefetch) {
  bool no_ack = prefetch < 0;
  if (!no_ack) {
    amqp_basic_qos(connection, channel, 0, (uint16_t)prefetch, false);
    const char *error = of_reply(amqp_get_rpc_reply(connection));
    if (error != NULL) {
      return error;
    }
  }
  amqp_basic_consume(connection, channel, queue, amqp_cstring_bytes("compare"), false, no_ack,
                     false, amqp_empty_table);
  return of_reply(amqp_get_rpc_reply(connection));
}

/* Takes so many messages, and acknowledges them together if that is asked for. Frames by themselves,
   from amqp_simple_wait_frame, would take half the time, for they allocate nothing; but they are
   no messages: properties and body come apart, and last until the buffers are released. */
const char *compare_receive(amqp_connection_state_t connection, amqp_channel_t channel,
                            size_t messages, bool acked) {
  uint64_t last = 0;
  for (size_t taken = 0; taken < messages; taken++) {
    amqp_maybe_release_buffers_on_channel(connection, channel);
    amqp_envelope_t envelope;
    const char *error = of_reply(amqp_consume_message(connection, &envelope, NULL, 0));
    if (error != NULL) {
      return error;
    }
    last = envelope.delivery_tag;
    amqp_destroy_envelope(&envelope);
  }
  return acked ? of_status(amqp_basic_ack(connection, channel, last, messages > 1)) : NULL;
}
